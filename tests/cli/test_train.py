"""forensics train: what it prints and records, how it stops and goes on, one clear line for every bad request."""

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from forensics.recording import open_recording
from forensics.toy.events import Events
from forensics.toy.presets import preset_names
from forensics_cli.main import cli

pytestmark = pytest.mark.usefixtures("empty_folder", "as_before")

ROOT = Path(__file__).parents[2]
CORPUS = [f"--set=corpus.{setting}" for setting in ("vocab=64", "dead=24", "tokens=8_000")]
NETWORK = [f"--set={s}" for s in ("batches.batch=4", "batches.context=12", "model.dim=8", "model.ff=16")]
TINY = [*CORPUS, *NETWORK, "--set=checkpoint_every=10", "--record=W,loss", "--device=cpu"]
STEPS = 30
STOPS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def as_before():
    """A run sets torch's threads and the handlers of signals in its process, which here is not its own."""
    threads, handlers = torch.get_num_threads(), [signal.getsignal(number) for number in STOPS]
    yield
    torch.set_num_threads(threads)
    assert [signal.getsignal(number) for number in STOPS] == handlers


def forensics(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def train(*arguments):
    return forensics("train", *arguments)


def tiny(out, *more):
    result = train(*TINY, "--steps", STEPS, "--out", out, *more)
    assert result.exit_code == 0, result.output
    return result


def bad(result, *, hint=None):
    """Exit code 3 and one line, with a hint where there is one; gives the line."""
    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (3, ""), result.output
    assert lines[0].startswith("error: ") and len(lines) <= 2 and all(x.startswith("hint: ") for x in lines[1:]), lines
    assert hint is None or hint in lines[1]
    return lines[0]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def words(folder):
    """Everything that a recording's channels hold."""
    recording = open_recording(folder)
    names = [channel.name for channel in recording.channels]
    assert "W" in names
    return {name: (recording.steps(name).tolist(), recording.series(name).tobytes()) for name in names}


# What it prints and records


def test_the_default_run_is_a_source(empty_folder):
    result = train(*CORPUS, *NETWORK, "--steps", 20)
    assert result.exit_code == 0 and result.stdout.startswith("pocket: step 20 of 20; 24 dead and 40 live tokens\n")
    assert "liftoff" in result.stdout and "recording in forensics-runs/pocket" in result.stderr
    scan = forensics("scan", "run:forensics-runs/pocket@20", "--json")
    (matrix,) = json.loads(scan.stdout)["matrices"]
    assert scan.exit_code == 0 and matrix["black_holes"]["unique_rows"] == 64
    assert forensics("scan", "run:forensics-runs/pocket@21").exit_code == 3


def test_json_is_one_document_and_the_same_twice():
    first, second = (tiny(out, "--json", "-q") for out in "ab")
    document = json.loads(first.stdout)
    assert document["schema"] == "forensics.train/1" and (document["step"], document["steps"]) == (STEPS, STEPS)
    assert document.keys() == {"schema", "name", "step", "steps", "stored", "events", "loss", "corpus"}
    assert first.stdout == second.stdout and first.stderr == "" and words("a") == words("b")
    assert json.loads(tiny("c", "--json", "--seed", 1).stdout)["loss"] != document["loss"]


def test_the_list_names_every_preset_and_its_cost(empty_folder):
    result = train("--list")
    lines = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in lines] == list(preset_names()) and result.exit_code == 0
    assert all("parameters" in line and "recorded (" in line for line in lines)
    assert list(empty_folder.iterdir()) == []


def test_options_win_over_settings_and_settings_over_a_file():
    Path("mine.toml").write_text('extends = "pocket"\nsteps = 3\nseed = 5\nclip = 0.5\n[optimizer]\nlr = 2e-3\n')
    changes = ["--set=steps=4", "--set=optimizer.beta2=0.9", "--set=record.channels=W,grad"]
    options = ["--steps", 6, "--seed", 9, "--record", "loss,W"]
    assert train("mine.toml", *CORPUS, *NETWORK, *changes, *options).exit_code == 0
    config = open_recording("forensics-runs/mine").config
    assert (config["name"], config["steps"], config["seed"], config["clip"]) == ("mine", 6, 9, 0.5)
    assert (config["optimizer"]["lr"], config["optimizer"]["beta2"], config["model"]["dim"]) == (2e-3, 0.9, 8)
    assert config["record"]["channels"] == ["loss", "W"]
    assert train("mine.toml", *CORPUS, *NETWORK, "--out", "plain").exit_code == 0
    config = open_recording("plain").config
    assert (config["steps"], config["seed"]) == (3, 5) and "grad" in config["record"]["channels"]


def test_a_text_of_ones_own():
    Path("a.txt").write_text("What is not said is dead. " * 300)
    result = train("--set=corpus.kind=text", "--set=corpus.text=a.txt", *NETWORK, "--steps", 5, "--out", "r", "--json")
    census = json.loads(result.stdout)["corpus"]
    assert result.exit_code == 0 and census["dead"] == 256 - len(set("What is not said is dead. "))


def test_a_name_does_not_lead_out_of_the_folder_of_runs(empty_folder):
    assert train(*TINY, "--steps", 1, "--set=name=../../../up").exit_code == 0
    assert [p.name for p in (empty_folder / "forensics-runs").iterdir()] == ["up"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_how_it_goes(monkeypatch):
    terminal, stdout = Terminal(), io.StringIO()
    with contextlib.redirect_stderr(terminal), contextlib.redirect_stdout(stdout), pytest.raises(SystemExit) as end:
        cli.main(["train", *TINY, "--steps", "5", "--out", "r"])
    shown = terminal.getvalue()
    assert not end.value.code and "100%" in shown and "loss 4." in shown and "frozen " in shown and "None" not in shown
    assert stdout.getvalue().startswith("pocket: step 5 of 5")


# Bad requests: each ends before anything is written

BAD = {
    "preset": (["pockte"], "no preset is called 'pockte'", "did you mean pocket?"),
    "no name": ([""], "no preset is called ''", "pocket"),
    "no such file": (["./no.toml"], "no.toml: No such file", "a preset's name"),
    "setting": (["--set=optimizer.lrr=1"], "optimizer.lrr: there is no such setting", "did you mean optimizer.lr?"),
    "table": (["--set=lr=1"], "lr: there is no such setting", "did you mean optimizer.lr?"),
    "number": (["--set=optimizer.lr=high"], "optimizer.lr: expected a finite number, found 'high'", None),
    "whole": (["--set=model.layers=1.5"], "model.layers: expected a whole number, found 1.5", None),
    "no value": (["--set=optimizer"], "'optimizer' sets nothing", "KEY=VALUE"),
    "record": (["--record=W,gradient"], "nothing to record is called 'gradient'", "did you mean grad?"),
    "no text": (["--set=corpus.kind=text", "--set=corpus.text=no.txt"], "no.txt: cannot be read", "corpus.text"),
    "short text": (["--set=corpus.kind=text", "--set=corpus.text=../short.txt"], "need 1024", "longer text"),
    "all bytes": (["--set=corpus.kind=text", "--set=corpus.text=../all.txt"], "no dead tokens", "larger vocabulary"),
    "no dead": (["--set=corpus.dead=0"], "no dead tokens, all 512 ids occur", "larger vocabulary"),
    "heads": (["--set=model.heads=3"], "dim 16 is not divisible by 3 heads", None),
    "device": (["--device=tpu"], "'tpu' is not a device", "auto, cpu"),
    "disk": (["--steps=1000000000000"], "the disk has", "record less"),
}


@pytest.fixture
def texts(empty_folder):
    (empty_folder.parent / "short.txt").write_text("abc" * 100)
    (empty_folder.parent / "all.txt").write_bytes(bytes(range(256)) * 40)


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_one_clear_line(case, empty_folder):
    arguments, expected, hint = BAD[case]
    assert expected in bad(train(*arguments, "-q"), hint=hint)
    assert list(empty_folder.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_no_cuda(empty_folder):
    assert "device cuda is not there" in bad(train("--device", "cuda"), hint="this machine has: cpu")
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('extends = "pocket"\nstep = 7\n', "bad.toml: step: there is no such setting"),
        ('extends = "nobody"\n', "no preset is called 'nobody'"),
        ("steps =\n", "bad.toml: not valid TOML"),
        ("[batches]\nbatch = 0\n", "batch is 0; it is 1 or more"),
    ],
)
def test_a_bad_file_is_one_clear_line(text, expected, empty_folder):
    Path("bad.toml").write_text(text)
    assert expected in bad(train("bad.toml"))
    assert [p.name for p in empty_folder.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", ""],
        ["--resume", ""],
        ["--record", ""],
        ["--steps", "0"],
        ["--seed", "-1"],
        ["--steps", "many"],
        ["--resume", "r", "--set=optimizer.lr=1"],
        ["--resume", "r", "--seed", "3"],
        ["--resume", "r", "--record", "W"],
        ["--resume", "r", "--out", "s"],
        ["pocket", "goldilocks"],
        ["--no-such-option"],
    ],
)
def test_a_contradiction_is_a_usage_error(arguments, empty_folder):
    result = train(*arguments)
    assert (result.exit_code, result.stdout) == (2, "") and "Error: " in result.stderr
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(("package", "extra"), [("torch", "toy"), ("transformers", "models")])
def test_a_package_that_is_not_there_is_named_with_its_extra(package, extra, empty_folder, monkeypatch):
    if package == "torch":
        monkeypatch.delattr("forensics.toy.run")
        monkeypatch.delitem(sys.modules, "forensics.toy.run")
    monkeypatch.setitem(sys.modules, package, None)
    result = train("--set=model.kind=gpt2")
    assert f"needs {package}" in bad(result, hint=f"pip install 'embedding-forensics[{extra}]'")
    assert list(empty_folder.iterdir()) == []


def test_a_folder_that_holds_a_recording_is_refused():
    tiny("r")
    before = files("r")
    assert "holds a recording" in bad(train(*TINY, "--out", "r"), hint="resuming, or choose another folder")
    assert files("r") == before


# Going on


def test_resume_of_nothing():
    Path("empty").mkdir()
    assert "no such folder" in bad(train("--resume", "nothing"), hint="a recording's folder")
    assert "not a recording" in bad(train("--resume", "empty"), hint="forensics train")


def test_resume_with_a_changed_setting():
    tiny("r")
    before = files("r")
    changed = bad(
        train("pocket", *TINY, "--steps", STEPS, "--set=optimizer.lr=0.5", "--resume", "r"), hint="own settings"
    )
    assert "optimizer.lr was 0.001, now it is 0.5" in changed and files("r") == before
    same = train("pocket", *TINY, "--steps", STEPS, "--resume", "r")
    assert same.exit_code == 0, same.output


def test_resume_of_a_finished_run_says_so_and_changes_nothing():
    told = tiny("r", "--json")
    before = files("r")
    again = train("--resume", "r", "--json")
    assert (again.exit_code, again.stdout) == (0, told.stdout) and files("r") == before
    assert again.stderr == f"note: pocket: all {STEPS} steps are made; --steps N trains on to another step\n"
    assert train("--resume", "r", "-q").stderr == ""


def test_resume_trains_on_to_a_later_step():
    tiny("long")
    assert train(*TINY, "--steps", 12, "--out", "r").exit_code == 0
    assert train("--resume", "r", "--steps", STEPS).exit_code == 0
    assert words("r") == words("long") and open_recording("r").config["steps"] == STEPS


def test_a_loss_that_is_no_number_keeps_the_steps_before():
    diverging = ["--set=optimizer.kind=sgd", "--set=optimizer.lr=1e30", "--set=precision=f32"]
    line = bad(train(*TINY, *diverging, "--out", "r", "-q"), hint="look at optimizer.lr")
    recording = open_recording("r")
    last = int(recording.steps("W")[-1])
    assert f"step {last + 1}: the " in line and last >= 1
    assert recording.steps("loss").tolist() == list(range(1, last + 1))
    assert forensics("scan", f"run:r@{last}", "--json").exit_code == 0


def test_a_full_disk_is_one_line_and_is_gone_on_from():
    """A limit on the size of a file between that of a checkpoint and that of the matrix's frames."""
    tiny("whole", "--set=record.tracked=all")
    sizes = {path: len(raw) for path, raw in files("whole").items()}
    matrix = max(size for path, size in sizes.items() if path.parts[0] == "W")
    most = max(size for path, size in sizes.items() if path.parts[0] != "W")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert matrix > most + 500
    resource.setrlimit(resource.RLIMIT_FSIZE, ((matrix + most) // 2, hard))
    try:
        result = train(*TINY, "--steps", STEPS, "--out", "r", "-q")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "too large" in bad(result, hint="free some space")
    assert forensics("scan", "run:r", "--json").exit_code == 0
    resumed = train("--resume", "r")
    assert resumed.exit_code == 0, resumed.output
    assert words("r") == words("whole")


# Being stopped


@contextlib.contextmanager
def signalled(at, *numbers):
    """Sends this process signals while step ``at`` is observed."""
    observe = Events.observe

    def and_be_stopped(self, step):
        observe(self, step)
        if step.step == at:
            for number in numbers:
                signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Events, "observe", and_be_stopped)
        yield


@pytest.mark.parametrize("number", STOPS)
def test_stopped_after_a_whole_step(number):
    tiny("whole")
    with signalled(13, number):
        result = train(*TINY, "--steps", STEPS, "--out", "a run", "-q")
    assert result.exit_code == 130 and result.stdout.startswith(f"pocket: step 13 of {STEPS}")
    assert result.stderr == (
        f"error: interrupted; the run is whole to step 13 of {STEPS}\n"
        "hint: go on with: forensics train --resume 'a run'\n"
    )
    assert train("--resume", "a run").exit_code == 0 and words("a run") == words("whole")


def test_a_second_ctrl_c_ends_at_once_and_harms_nothing():
    tiny("whole")
    with signalled(13, signal.SIGINT, signal.SIGINT):
        result = train(*TINY, "--steps", STEPS, "--out", "r", "-q")
    assert (result.exit_code, result.stdout) == (130, "") and "error: interrupted\n" in result.stderr
    resumed = train("--resume", "r")
    assert resumed.exit_code == 0, resumed.output
    assert words("r") == words("whole")


CHILD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
from forensics_cli.main import cli
cli()
"""


def test_ctrl_c_in_a_process_of_its_own():
    """Beside it a second trainer is refused; after it the run goes on as if nothing had happened."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}", "OMP_NUM_THREADS": "1"}
    endless = [sys.executable, "-c", CHILD, "train", *TINY, "--steps=200000", "--out=r", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(endless, env=environment, **pipes) as child:
        try:
            waited = time.monotonic()
            while len(list(Path("r/checkpoints").glob("step-*.pt"))) < 2:
                assert child.poll() is None and time.monotonic() - waited < 120, child.communicate()
                time.sleep(0.02)
            for second in (["--out", "r", *TINY], ["--resume", "r"]):
                assert "another process writes this recording" in bad(train(*second), hint="wait for it")
            child.send_signal(signal.SIGINT)
            stdout, stderr = child.communicate(timeout=60)
        finally:
            child.kill()
    step = json.loads(stdout)["step"]
    assert child.returncode == 130 and open_recording("r").steps("W")[-1] == step >= 10
    assert f"the run is whole to step {step:,} of 200,000" in stderr and "forensics train --resume r" in stderr
    assert "Traceback" not in stderr
    assert train("--resume", "r", "--steps", step + 5, "-q").exit_code == 0
    assert train(*TINY, "--steps", step + 5, "--out", "whole", "-q").exit_code == 0
    assert words("r") == words("whole")
