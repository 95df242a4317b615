"""Pre-tokenisers by the names that GGUF files give them, and GPT-2's own.

A GGUF file does not hold its pre-tokeniser: ``tokenizer.ggml.pre`` names one of a published list. These are the
patterns of that list that mean the same in every regular-expression engine; a name that is not here has no encoder.

References:
    llama.cpp, ``src/llama-vocab.cpp``; Radford et al. 2019 (GPT-2) for the first pattern.
"""

from __future__ import annotations

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LETTERS_THEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?"
PUNCTUATION = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ONE_DIGIT = LETTERS_THEN + r"\p{L}+|\p{N}" + PUNCTUATION
THREE_DIGITS = LETTERS_THEN + r"\p{L}+|\p{N}{1,3}" + PUNCTUATION
WITH_MARKS = LETTERS_THEN + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

_SAME: dict[tuple[tuple[str, ...], bool], tuple[str, ...]] = {
    ((GPT2,), False): ("gpt-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"),
    ((r"\p{N}", GPT2), False): ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    ((ONE_DIGIT,), False): ("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan", "grok-2", "solar-open"),
    ((WITH_MARKS,), False): ("qwen35",),
    ((THREE_DIGITS,), True): ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2"),
    ((THREE_DIGITS,), False): ("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"),
}

GGUF_PRE: dict[str, tuple[tuple[str, ...], bool]] = {name: value for value, names in _SAME.items() for name in names}
"""By name: the patterns, applied in turn, and whether a word that is a piece is taken without merging."""
