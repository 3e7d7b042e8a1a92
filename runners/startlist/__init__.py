"""Start lists: rows become entries and runners, and their phones' tokens."""
