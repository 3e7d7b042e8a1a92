"""Units of time and length."""
