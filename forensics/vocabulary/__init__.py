"""Tokenizer pieces and what they stand for."""

from forensics.vocabulary.pieces import Vocabulary

__all__ = ["Vocabulary"]
