"""HTTP endpoints for the tracking apps that runners already have: one file per app.

An adapter only translates the app's format to fixes for the pipeline, and the result to
the reply that the app understands.
"""
