"""Telling followers what happens to their runners, by web push and by mail."""
