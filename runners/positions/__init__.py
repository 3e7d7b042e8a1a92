"""The pipeline every position takes, whichever door it came in by."""
