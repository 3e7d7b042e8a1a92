"""The pipeline that every position goes through, whichever endpoint receives it."""
