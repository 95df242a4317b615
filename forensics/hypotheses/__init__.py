"""Hypotheses as simulators, what is measured of a cloud of dead rows, and the test of one against the other."""
