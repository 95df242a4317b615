"""One hypothesis a module: each defines HYPOTHESIS, and is found by being here."""
