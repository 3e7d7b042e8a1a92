"""Fan-out: from one accepted position to every socket that follows its runner.

Nothing in here knows the ORM or HTTP.
"""
