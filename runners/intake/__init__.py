"""HTTP endpoints for the tracking apps that runners already have: one file per app.

An adapter only translates: the app's format into fixes for the pipeline, and the result
into the reply that the app understands.
"""
