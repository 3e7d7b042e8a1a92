"""The checks of `manage.py doctor`: this machine, and the access from outside.

A check yields what is in order and each `Problem` that it finds; it raises a problem
that makes its further steps impossible.
"""
