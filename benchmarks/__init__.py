"""Speed and memory against what a user would do instead: ``python -m benchmarks scan``."""
