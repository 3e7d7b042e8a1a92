"""Progress of simulated runners, of whom the truth is known, and three baselines."""
