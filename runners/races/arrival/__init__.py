"""Predict the arrival of a runner from the pacing of earlier races."""
