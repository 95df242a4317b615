"""A recording's step as the SOURCE of every verb."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from forensics.errors import RecordingError, SourceError, TensorNotFoundError
from forensics.recording import Channel, RecordingWriter
from forensics.sources import load_embedding, open_checkpoint
from forensics_cli.main import cli
from tests.recording.runs import CONFIG

VOCAB, DIM = 200, 16
DEAD = np.arange(150, 200)
MADE_OF = {"vocab_size": VOCAB, "dead_ids": DEAD}
EVERY = np.arange(VOCAB)

TOKENIZER = json.dumps(
    {"model": {"type": "WordLevel", "vocab": {f"word{i}": i for i in range(VOCAB)}, "unk_token": "word0"}}
)


def words(step, seed=0):
    """bfloat16 words of N(0, 0.02); from step 10 on the rows 150 to 179 are one and the same."""
    values = np.random.default_rng(seed).normal(0, 0.02, (VOCAB, DIM)).astype(np.float32)
    found = (values.view(np.uint32) >> 16).astype(np.uint16) + np.uint16(step)
    if step >= 10:
        found[150:180] = found[150]
    return found


def channel(name):
    return Channel(name, (VOCAB, DIM), "uint16", "bfloat16", token_ids=EVERY)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "first"
    with RecordingWriter.create(folder, CONFIG, [channel("W")], **MADE_OF, tokenizer_json=TOKENIZER) as writer:
        for step in range(0, 31, 5):
            writer.append(step, {"W": words(step)})
    return folder


@pytest.mark.parametrize(
    ("source", "step"), [("run:runs/first", 30), ("run:./runs/first@10", 10), ("run:runs/first@0", 0)]
)
def test_a_step_opens_to_a_checkpoint(run, source, step):
    checkpoint = open_checkpoint(source)
    (embedding,) = checkpoint.matrices
    np.testing.assert_array_equal(embedding.words, words(step))
    assert checkpoint.source.to_dict() == {"kind": "recording", "location": "first", "revision": str(step)}
    assert checkpoint.source.argument == f"run:first@{step}" and str(checkpoint.source) == f"run:first @ {step}"
    assert checkpoint.tied == "identical" and embedding.role == "tied"
    assert checkpoint.config == {
        "vocab_size": VOCAB, "hidden_size": DIM, "tie_word_embeddings": True, "initializer_range": 0.02,
    }  # fmt: skip
    assert checkpoint.vocabulary.text(7) == "word7"
    assert checkpoint.command("scan") == f"forensics scan run:first@{step}"
    np.testing.assert_array_equal(load_embedding(f"run:{run}@{step}", role="output").words, words(step))


def test_a_folders_own_name_may_hold_an_at_sign(run):
    run.rename(run.parent / "a@5")
    assert open_checkpoint("run:runs/a@5").source.argument == "run:a@5@30"
    assert open_checkpoint("run:runs/a@5@10").source.revision == "10"


def test_no_path_of_the_machine(run):
    checkpoint = open_checkpoint(f"run:{run}@5")
    assert str(run.parent) not in repr((checkpoint.source, checkpoint.matrices, checkpoint.notes))


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (
            "run:runs/first@7",
            RecordingError,
            "step 7 is not recorded; the nearest are 5 and 10; it holds 7 steps, 0 to 30",
        ),
        ("run:runs/first@31", RecordingError, "the nearest are 30"),
        ("run:runs/first@last", SourceError, "'last' is not a step; expected run:DIR or run:DIR@STEP"),
        ("run:runs/first@-1", SourceError, "'-1' is not a step"),
        ("run:runs/first@", SourceError, "'' is not a step"),
        ("run:@5", SourceError, "is not a step"),
        ("run:runs/first@99999999999999999999999", RecordingError, "is not recorded"),
        ("run:runs/second", RecordingError, "second: no such folder"),
        ("run:runs", RecordingError, "runs: not a recording"),
        ("run:x@5", RecordingError, "x: no such folder"),
        ("run:~no-such-user-here/x", SourceError, "not a path"),
        ("run:" + "a" * 300, SourceError, "not a path"),
        ("run:", SourceError, "not a kind of SOURCE"),
    ],
)
def test_what_cannot_be_opened(run, source, error, said):
    with pytest.raises(error, match=re.escape(said)):
        open_checkpoint(source)


def test_a_tensor_by_name(run):
    assert open_checkpoint("run:runs/first", tensor="W").matrix().tensor == "W"
    with pytest.raises(TensorNotFoundError, match="no matrix 'X'"):
        open_checkpoint("run:runs/first", tensor="X")
    with pytest.raises(RecordingError, match="E was not recorded; train again with --record E"):
        open_checkpoint("run:runs/first", tensor="E")


def record(folder, channels, frame, config=CONFIG):
    with RecordingWriter.create(folder, config, channels, **MADE_OF) as writer:
        if frame:
            writer.append(0, frame)


UNTIED = {"model": {"tied": False}, "initial": {"tokens": {"kind": "ball"}}}


def test_an_untied_run(tmp_path):
    both = [channel("W"), channel("E")]
    record(tmp_path / "two", both, {"W": words(0), "E": words(0, seed=1)}, UNTIED)
    checkpoint = open_checkpoint(f"run:{tmp_path}/two")
    assert [e.role for e in checkpoint.matrices] == ["input", "output"] and checkpoint.tied == "different"
    np.testing.assert_array_equal(checkpoint.matrix("output").words, words(0))
    assert "initializer_range" not in checkpoint.config and checkpoint.vocabulary is None
    record(tmp_path / "same", both, {"W": words(0), "E": words(0)}, UNTIED)
    assert open_checkpoint(f"run:{tmp_path}/same").tied == "identical"
    record(tmp_path / "head", both[:1], {"W": words(0)}, UNTIED)
    checkpoint = open_checkpoint(f"run:{tmp_path}/head")
    assert [e.role for e in checkpoint.matrices] == ["output"] and checkpoint.tied is None


def test_runs_without_a_whole_matrix(tmp_path):
    some = Channel("W", (50, DIM), "uint16", "bfloat16", token_ids=DEAD)
    record(tmp_path / "dead", [some], {"W": words(0)[DEAD]})
    with pytest.raises(RecordingError, match="W holds 50 of 200 tokens, not a matrix; train again with tracked tokens"):
        open_checkpoint(f"run:{tmp_path}/dead")
    record(tmp_path / "none", [channel("W")], {})
    with pytest.raises(RecordingError, match="run:none: no step is recorded yet"):
        open_checkpoint(f"run:{tmp_path}/none")


def test_a_tokenizer_that_cannot_be_read(run):
    (run / "tokenizer.json").write_text("{")
    checkpoint = open_checkpoint("run:runs/first")
    assert checkpoint.vocabulary is None and checkpoint.notes[0].startswith("tokenizer not used: tokenizer.json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scan", "run:runs/first@20"], "1 black hole: 30 of 200 tokens share one stored row"),
        (["lattice", "run:runs/first"], "run:first @ 30"),
        (["tokens", "run:runs/first"], "run:first @ 30"),
        (["check", "run:runs/first@20", "--id", "151"], "dead"),
        (["diff", "run:runs/first@5", "run:runs/first@10"], "run:first @ 10"),
    ],
)
def test_every_verb_takes_it(run, arguments, said):
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code in (0, 1) and (done.exit_code == 1) == (arguments[0] == "check"), done.output
    assert said in done.stdout


def test_a_wrong_step_on_the_command_line(run):
    done = CliRunner().invoke(cli, ["scan", "run:runs/first@3"])
    assert done.exit_code == 3 and "step 3 is not recorded" in done.stderr and "Traceback" not in done.stderr
