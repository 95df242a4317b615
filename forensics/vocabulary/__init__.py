"""Tokenizer pieces, what they stand for, and whether text can produce them."""

from forensics.vocabulary.census import Census, take_census
from forensics.vocabulary.grounds import Ground
from forensics.vocabulary.pieces import Vocabulary
from forensics.vocabulary.rules import TokenizerRules

__all__ = ["Census", "Ground", "TokenizerRules", "Vocabulary", "take_census"]
