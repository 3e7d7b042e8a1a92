"""HTTP doors for the tracking apps that runners already have: one file an app.

A door only translates: the app's format into fixes for `positions.accept`, and what
became of them into the reply that the app understands.
"""
