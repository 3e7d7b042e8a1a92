"""Runners that do not exist, over real websockets: for the demo, tests and a look."""
