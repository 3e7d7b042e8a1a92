"""Rights to see runners and races, and to publish."""
