"""``forensics cache``: tables and documents on stdout, notes on stderr, and nothing removed unasked."""

import json
import sys

import click
import pytest
from click.testing import CliRunner

from forensics.errors import OutputError, SourceError
from forensics.hub import partial
from forensics.hub.cache import TensorCache
from forensics.hub.entry import EntryFiles
from forensics_cli.cache import command
from tests.hub.planted_source import COMMIT, TENSOR, digest, fetcher, plant


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with a finished tensor of one repository and an unfinished one of another."""
    monkeypatch.setattr(partial, "CHUNK_BYTES", 400)
    monkeypatch.setenv("FORENSICS_CACHE", str(tmp_path / "cache"))
    cache, remote = TensorCache(), tmp_path / "remote"
    cache.fetch(plant(remote)[0], fetcher(remote))
    begun, _ = plant(remote, repo="org/other", name="evil\u202e\x1b[2J" + "x" * 100)

    def stop(ranges, write, done):
        fetcher(remote)(ranges[:3], write, done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fetch(begun, stop)
    return cache


def run(*arguments, text=None):
    return CliRunner().invoke(command, arguments, input=text)


def lines(text):
    return [line.split() for line in text.splitlines()]


def finished(cache):
    (path,) = cache.folder.rglob("*.safetensors")
    return path


def test_list_shows_every_entry(cache):
    result = run("list")
    assert result.exit_code == 0
    head, first, second = lines(result.stdout)
    assert head == ["repository", "commit", "tensor", "dtype", "shape", "size", "state"]
    assert first == ["org/model", COMMIT[:8], TENSOR, "F16", "40", "x", "32", "2.82", "kB", "complete"]
    assert second[0] == "org/other" and second[-5:] == ["partial,", "3", "of", "7", "chunks"]
    assert "\u202e" not in result.stdout and "\x1b" not in result.stdout and "\\u202e" in result.stdout
    assert f"cache folder {cache.folder}: 2 entries" in result.stderr
    assert run("list", "-q").stderr == ""


def test_list_as_json_names_no_folder(cache, tmp_path):
    result = run("list", "--json")
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.cache/1"
    assert [(e["repo"], e["state"], e["chunks_done"], e["chunks"]) for e in document["entries"]] == [
        ("org/model", "complete", 7, 7),
        ("org/other", "partial", 3, 7),
    ]
    assert document["entries"][0]["shape"] == [40, 32] and document["entries"][0]["commit"] == COMMIT
    assert str(tmp_path) not in result.stdout


def test_an_empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FORENSICS_CACHE", str(tmp_path / "none"))
    for verb in ("list", "verify"):
        assert (run(verb).stdout, run(verb).exit_code) == ("", 0)
        assert json.loads(run(verb, "--json").stdout)["entries"] == []
    assert "0 entries removed" in run("clear", "--yes").stderr
    assert not (tmp_path / "none").exists()


def test_verify_reads_every_byte(cache):
    result = run("verify")
    assert result.exit_code == 0
    _, first, second = lines(result.stdout)
    assert first == ["org/model", COMMIT[:8], TENSOR, digest(finished(cache).read_bytes()[-2560:])[:16], "holds"]
    assert second[-5:] == ["partial,", "3", "of", "7", "chunks"]


@pytest.mark.parametrize("at", [0, 100, -1])
def test_verify_says_which_does_not_hold(cache, at):
    path = finished(cache)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    result = run("verify")
    assert result.exit_code == 1
    assert path.name in next(line for line in result.stdout.splitlines() if line.startswith("org/model"))
    result = run("verify", "--json")
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)["entries"]
    assert path.name in first["fault"] and second["fault"] is None


def test_a_damaged_manifest_is_listed_and_found_at_fault(cache):
    finished(cache).with_suffix(".json").write_text("{}")
    assert lines(run("list").stdout)[1][0] == "models--org--model"
    assert lines(run("list").stdout)[1][-1] == "damaged"
    assert run("verify").exit_code == 1


def test_clear_asks_in_a_pipe_for_yes(cache):
    result = run("clear")
    assert result.exit_code == click.UsageError.exit_code
    assert "--yes" in result.stderr
    assert finished(cache).exists()


@pytest.mark.parametrize(("answer", "is_left"), [("n\n", True), ("y\n", False), ("", True)])
def test_clear_asks_on_a_terminal(cache, monkeypatch, answer, is_left):
    @click.command()
    def on_a_terminal():
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        command(["clear"], standalone_mode=False)

    result = CliRunner().invoke(on_a_terminal, input=answer)
    assert "Remove 2 entries, 5." in result.stderr and result.stdout.strip() == ""
    assert bool(list(cache.folder.rglob("*.safetensors"))) == is_left


@pytest.mark.parametrize(
    ("arguments", "removed", "left"),
    [
        ((), "2 entries", []),
        (("--partial",), "1 entry", [".json", ".safetensors"]),
        (("org/model",), "1 entry", [".journal", ".partial"]),
        (("org/other",), "1 entry", [".json", ".safetensors"]),
        (("org/model", "--partial"), "0 entries", [".journal", ".json", ".partial", ".safetensors"]),
    ],
)
def test_clear_removes_what_is_named(cache, arguments, removed, left):
    result = run("clear", *arguments, "--yes")
    assert result.exit_code == 0 and result.stdout == ""
    assert f"{removed} removed" in result.stderr
    assert sorted(p.suffix for p in cache.folder.rglob("*") if p.is_file()) == left


@pytest.mark.parametrize("name", ["org/none", "hf:org/none", "none"])
def test_clear_of_a_model_that_is_not_there(cache, name):
    result = run("clear", name)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"nothing of {name.removeprefix('hf:')} is in the cache" in result.stderr and finished(cache).exists()


@pytest.mark.parametrize(
    "name", ["org/model/x", "../model", "org/model@main", "org/model:a.gguf", "https://host/org/model"]
)
def test_clear_of_what_is_no_model(cache, name):
    result = run("clear", name, "--yes")
    assert isinstance(result.exception, SourceError) and result.exception.exit_code == 3
    assert finished(cache).exists()


def test_clear_takes_a_name_as_scan_does(cache):
    assert "1 entry removed" in run("clear", "hf:org/model", "--yes").stderr


def test_clear_leaves_what_another_program_keeps_there(cache):
    """FORENSICS_CACHE may be huggingface_hub's own folder."""
    folder = cache.repo_folder("org/model")
    theirs = [folder / "blobs" / "a", folder / "snapshots" / COMMIT / "config.json", folder / "refs" / "main"]
    theirs += [folder / "refs" / "pr" / "1", folder / COMMIT / "mine.txt", folder / COMMIT / "listing.json.bak"]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    cache.remember_revision("org/model", "main", COMMIT)
    ours = [folder / COMMIT / "listing.json", folder / COMMIT / f"m.safetensors-{'0' * 32}.head"]
    for path in ours:
        path.write_text("ours")
    run("clear", "--yes")
    assert {p for p in folder.rglob("*") if p.is_file()} == set(theirs)


def test_clear_says_what_it_leaves(cache):
    (held,) = cache.folder.rglob("*.partial")
    with EntryFiles(held.parent, held.stem).locked():
        result = run("clear", "--yes")
    assert "1 entry removed" in result.stderr and "being fetched: org/other" in result.stderr
    assert held.exists()


def test_trouble_with_the_folder_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FORENSICS_CACHE", str(tmp_path / "file"))
    assert run("list").exit_code == 0
    monkeypatch.setenv("FORENSICS_CACHE", "~nobody-of-this-name/cache")
    result = run("list")
    assert isinstance(result.exception, OutputError)
    assert "FORENSICS_CACHE" in result.exception.hint
