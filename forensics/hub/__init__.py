"""Models on the Hub: read in place, the bytes of one matrix fetched and nothing more."""
