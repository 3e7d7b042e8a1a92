"""The street maps around courses, cut out of an archive of vector tiles."""
