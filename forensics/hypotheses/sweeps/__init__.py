"""Many simulations, kept as they come, and the study made of them."""
