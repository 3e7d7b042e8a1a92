"""The rules of visibility and following."""
