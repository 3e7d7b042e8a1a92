"""Start lists: import, export, and printed codes to set phones up."""
