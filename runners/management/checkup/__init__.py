"""What `manage.py doctor` looks at: this machine, and the way in from outside.

A check yields what is in order and each `Problem` it finds; it raises one after which
there is nothing more to look at.
"""
