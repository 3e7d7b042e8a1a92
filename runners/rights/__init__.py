"""Who may see which runners and races, and who may publish."""
