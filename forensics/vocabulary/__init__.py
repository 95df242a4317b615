"""Tokenizer pieces and what they stand for."""
