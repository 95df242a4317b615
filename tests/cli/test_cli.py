"""The command line: what it prints where, its exit codes, and one clear line for every bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from forensics_cli.main import VERBS, cli
from forensics_cli.output import slug

pytestmark = pytest.mark.usefixtures("empty_folder")

ROOT = Path(__file__).parent.parent.parent


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def command(*arguments):
    """The command as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    code = "from forensics_cli.main import cli; cli()"
    return {"args": [sys.executable, "-c", code, *map(str, arguments)], "env": environment}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tiny.safetensors"
    rows = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float16)
    rows[[3, 5, 8]] = rows[3]
    save_file({"model.embed_tokens.weight": rows}, path)
    return path


def test_help_and_version():
    for flag in ("--help", "-h"):
        result = run(flag)
        assert result.exit_code == 0
        assert all(verb in result.stdout for verb in VERBS)
    assert re.fullmatch(r"forensics, version \d+\.\d+\.\d+\n", run("--version").stdout)
    for verb in VERBS:
        assert run(verb, "--help").exit_code == 0


def test_scan_prints_a_table_and_writes_the_report(model, tmp_path):
    out = tmp_path / "report"
    result = run("scan", model, "--out", out)
    assert result.exit_code == 0
    assert "1 black hole: 3 of 40 tokens share one stored row, bit for bit." in result.stdout
    assert "report in" in result.stderr
    assert {"report.md", "scan.json", "tokens.csv", "artifacts.safetensors"} <= {p.name for p in out.iterdir()}


def test_the_default_folder(model, empty_folder):
    assert run("scan", model).exit_code == 0
    (folder,) = (empty_folder / "forensics-reports").iterdir()
    assert folder.name == slug(str(model)) and (folder / "report.md").exists()


def test_json_is_one_document_and_writes_nothing(model, empty_folder, tmp_path):
    result = run("scan", model, "--json")
    assert list(empty_folder.iterdir()) == []
    document = json.loads(result.stdout)
    assert document["schema"] == "forensics.scan/1"
    assert document["source"] == {"kind": "file", "location": "tiny.safetensors", "revision": None}
    assert str(tmp_path) not in result.stdout


def test_json_with_out_prints_what_it_writes(model, tmp_path):
    result = run("scan", model, "--json", "--out", tmp_path / "report", "-q")
    assert result.stdout == (tmp_path / "report" / "scan.json").read_text()
    assert result.stderr == ""


def test_quiet_keeps_stderr_empty(model, tmp_path):
    assert run("scan", model, "--out", tmp_path / "r", "--quiet").stderr == ""


def test_several_sources_give_a_survey(model, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"wte.weight": np.eye(6, dtype=np.float32)}, other)
    result = run("scan", model, other, "--out", tmp_path / "all")
    assert result.exit_code == 0
    assert {p.name for p in (tmp_path / "all").iterdir()} == {slug(str(model)), slug(str(other))}
    header, first, second = result.stdout.strip().splitlines()[-3:]
    assert header.split()[:3] == ["source", "role", "rows"]
    assert first.startswith("tiny.safetensors") and second.startswith("other.safetensors")
    document = json.loads(run("scan", model, other, "--json").stdout)
    assert [len(s["matrices"]) for s in document["scans"]] == [1, 1]


def test_tensor_is_taken_by_name(model):
    assert run("scan", model, "--tensor", "model.embed_tokens.weight", "--json").exit_code == 0
    result = run("scan", model, "--tensor", "embed_tokens")
    assert result.exit_code == 3
    assert "model.embed_tokens.weight" in result.stderr


def bad_inputs(tmp_path):
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    none = tmp_path / "none.safetensors"
    save_file({"wte.weight": np.empty((0, 4), np.float32)}, none)
    ambiguous = tmp_path / "two.safetensors"
    save_file({"a.wte.weight": np.zeros((4, 2), np.float32), "b.wte.weight": np.ones((4, 2), np.float32)}, ambiguous)
    integers = tmp_path / "packed.safetensors"
    save_file({"model.embed_tokens.weight": np.zeros((4, 2), np.uint8)}, integers)
    text = tmp_path / "text.txt"
    text.write_text("hello")
    folder = tmp_path / "nothing"
    folder.mkdir()
    return {
        "missing": (tmp_path / "no such", "no such file"),
        "empty": (empty, "too short"),
        "no rows": (none, "0 x 4"),
        "ambiguous": (ambiguous, "a.wte.weight"),
        "packed": (integers, "stored as U8"),
        "text": (text, "not a weights file"),
        "folder": (folder, "no weights file"),
        "package": ("pkg:no_such_package_here", "no installed package"),
        "module": ("pkg:os.path", "not a module's name"),
        "planted": ("synth:nobody", "healthy"),
        "recording": ("run:x", "no such folder"),
        "nothing": ("", "empty SOURCE"),
        "newline": ("./a\x1b[31m\nb", "no such file"),
    }


BAD = ("missing", "empty", "no rows", "ambiguous", "packed", "text", "folder", "package", "module", "planted",
       "recording", "nothing", "newline")  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name, tmp_path):
    source, expected = bad_inputs(tmp_path)[name]
    result = run("scan", source)
    assert result.exit_code == 3, result.output
    error, *hints = result.stderr.strip().splitlines()
    assert error.startswith("error: ")
    assert expected in result.stderr
    assert len(hints) <= 1 and all(hint.startswith("hint: ") for hint in hints)
    assert result.stdout == "" and "Traceback" not in result.stderr and "\x1b" not in result.stderr


def test_usage_errors_are_two():
    empty = ["scan", "synth:healthy", "--out", ""]
    for arguments in (["scan"], ["nothing"], ["scan", "x", "--no-such-option"], ["synth", "healthy"], empty):
        assert run(*arguments).exit_code == 2


def test_an_output_folder_that_is_a_file(model, tmp_path):
    result = run("scan", model, "--out", model)
    assert result.exit_code == 3
    assert "cannot be written" in result.stderr and "--out" in result.stderr


def test_synth_writes_and_scan_reads_back(tmp_path):
    result = run("synth", "healthy", "--out", tmp_path / "h", "--rows", 90, "--dim", 16, "--dtype", "float16")
    assert result.exit_code == 0
    document = json.loads(run("scan", tmp_path / "h", "--json").stdout)
    assert document["matrices"][0]["shape"] == [90, 16]
    assert document["matrices"][0]["dtype"] == "float16"
    assert document["matrices"][0]["black_holes"]["count"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["nobody"],
        ["healthy", "--dtype", "float12"],
        ["qwen3-4b", "--rows", 100],
        ["qwen3-4b", "--dim", 8],
        ["healthy", "--dim", 1, "--rows", 1000, "--dtype", "float8_e5m2"],
    ],
)
def test_synth_refuses_what_it_cannot_plant(arguments, tmp_path):
    result = run("synth", *arguments, "--out", tmp_path / "x")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: ")
    assert not (tmp_path / "x").exists()


def test_two_processes_write_the_same_bytes(model, tmp_path):
    for name in ("one", "two"):
        subprocess.run(**command("scan", model, "--out", tmp_path / name), check=True, capture_output=True)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "two").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_reader_that_leaves_is_no_error(model):
    with subprocess.Popen(
        **command("scan", model, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 0


def test_ctrl_c_in_the_middle(tmp_path):
    out = tmp_path / "report"
    with subprocess.Popen(
        **command("scan", "synth:qwen3-4b", "--out", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error and error.strip().startswith("error: interrupted")
    assert not out.exists()


def test_one_bad_source_of_several_does_not_stop_the_others(model, tmp_path):
    result = run("scan", tmp_path / "nothing here", model, "--out", tmp_path / "all")
    assert result.exit_code == 3
    assert "nothing here" in result.stderr and "tiny.safetensors" in result.stdout.splitlines()[-1]
    document = json.loads(run("scan", model, tmp_path / "no", "--json").stdout)
    assert len(document["scans"]) == 1


def test_sources_of_one_name_get_folders_of_their_own(tmp_path):
    places = []
    for parent in ("a", "b"):
        places.append(tmp_path / parent / "x" / "m.safetensors")
        places[-1].parent.mkdir(parents=True)
        save_file({"wte.weight": np.eye(len(places) + 3, dtype=np.float32)}, places[-1])
    assert run("scan", *places, "--out", tmp_path / "out").exit_code == 0
    shapes = [json.loads(p.read_text())["matrices"][0]["shape"] for p in sorted((tmp_path / "out").glob("*/scan.json"))]
    assert sorted(shapes) == [[4, 4], [5, 5]]


def test_synth_does_not_replace_a_model(model, tmp_path):
    (tmp_path / "real").mkdir()
    mine = tmp_path / "real" / "model.safetensors"
    mine.write_bytes(model.read_bytes())
    result = run("synth", "healthy", "--rows", 20, "--dim", 8, "--out", tmp_path / "real")
    assert result.exit_code == 3 and "not planted" in result.stderr
    assert mine.read_bytes() == model.read_bytes()


def test_sizes_beyond_memory(tmp_path):
    result = run("synth", "healthy", "--rows", 10**14, "--out", tmp_path / "x")
    assert result.exit_code == 3 and result.stderr.startswith("error: ")


def test_a_full_disk_under_stdout(model):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            **command("scan", model, "--json"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr and "No space left" in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-"])
def test_closed_streams(model, closed):
    arguments = command("scan", model, "--json")
    line = " ".join(f"'{a}'" for a in arguments["args"])
    done = subprocess.run(
        ["sh", "-c", f"{line} {closed}"], env=arguments["env"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_a_path_that_is_not_utf8(model, tmp_path):
    odd = os.fsencode(tmp_path) + b"/lat\xe9.safetensors"
    try:
        Path(os.fsdecode(odd)).write_bytes(model.read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    arguments = command("scan")
    done = subprocess.run(
        [*map(os.fsencode, arguments["args"]), odd, b"--out", os.fsencode(tmp_path / "r"), b"-q"],
        env=arguments["env"], capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r" / "scan.json").read_text())["source"]["location"] == "lat\\xe9.safetensors"


def test_a_terminal_that_lacks_the_characters(tmp_path):
    save_file({"wte.weight": np.ones((3, 4), np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "vocab.txt").write_text("\u0e01\n\u0e02\n\u0e03\n", encoding="utf-8")
    arguments = command("scan", tmp_path, "--out", tmp_path / "r")
    environment = {**arguments["env"], "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(arguments["args"], env=environment, capture_output=True, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert rb"\u0e01" in done.stdout


def test_a_snapshot_of_the_hubs_cache_is_named_by_model_and_commit(model, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--org--name" / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(model.read_bytes())
    source = json.loads(run("scan", folder, "--json").stdout)["source"]
    assert source == {"kind": "folder", "location": "org/name", "revision": commit}
