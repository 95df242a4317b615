"""Planted checkpoints with a known truth."""
