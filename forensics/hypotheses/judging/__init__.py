"""Simulations against an observation: verdicts, posteriors, classes, weights and their calibration."""
