"""Fan-out: sends each accepted position to every socket that follows its runner.

This package uses neither the ORM nor HTTP.
"""
