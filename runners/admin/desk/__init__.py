"""The desk of race day: whose phone sends, whose does not, and what to do about it."""
