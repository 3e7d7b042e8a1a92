"""The serving process around the application: admission, drain, metrics, workers."""
