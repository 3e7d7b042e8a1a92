"""The race-day desk: which phones send, which do not, and what can be done."""
