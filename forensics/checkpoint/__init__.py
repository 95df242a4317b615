"""Real weights in: every checkpoint format comes down to named byte ranges of files."""
