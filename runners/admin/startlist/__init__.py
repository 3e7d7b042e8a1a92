"""Start lists come and go as files, phones are set up from printed codes."""
