"""Noise around a point, drawn exactly as it would be stored."""
