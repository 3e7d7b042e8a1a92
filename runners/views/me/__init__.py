"""The pages under /me/: a runner's choices and data."""
