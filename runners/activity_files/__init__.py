"""Files of watches (FIT, TCX, GPX) that fill the gaps of a runner's track in a race."""
