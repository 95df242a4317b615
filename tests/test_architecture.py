"""The house rules that can be read off the source: who imports whom, and what an import costs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import forensics

ROOT = Path(__file__).parent.parent

# A module may import modules of its own room and of rooms on earlier lines, nothing else.
ORDER = [
    ["errors", "gaps", "measures", "text"],
    ["formats"],
    ["embedding"],
    ["bits", "black_holes", "geometry"],
    ["lattice"],
    ["causes", "diff", "undertrained"],
    ["initialisation", "updates"],
    ["vocabulary"],
    ["checkpoint"],
    ["hub", "synthetic", "recording"],
    ["toy"],
    ["sources"],
    ["dynamics"],
    ["hypotheses"],
    ["scanning"],
    ["claims"],
    ["comparison"],
    ["report"],
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}

# bits and geometry speak of holes; nothing else crosses within a line.
SIDEWAYS = {("bits", "black_holes"), ("geometry", "black_holes")}

HEAVY = {
    "torch",
    "zarr",
    "transformers",
    "pandas",
    "scipy",
    "matplotlib",
    "gguf",
    "huggingface_hub",
    "networkx",
    "tokenizers",
    "joblib",
    "dask",
    "distributed",
}


def modules():
    for path in sorted((ROOT / "forensics").rglob("*.py")):
        room = path.relative_to(ROOT / "forensics").parts[0].removesuffix(".py")
        if room != "__init__":
            yield path, room


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "forensics":
                names = [f"forensics.{alias.name}" for alias in node.names if alias.name != "__version__"]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (n.split(".")[1] for n in names if n.startswith("forensics."))
        assert not any(n.startswith("forensics_cli") for n in names), f"{path}: the library knows of no command line"


@pytest.mark.parametrize(("path", "room"), list(modules()), ids=lambda v: v.name if isinstance(v, Path) else v)
def test_imports_go_one_way(path, room):
    for other in imported_rooms(path):
        allowed = other == room or LEVEL[other] < LEVEL[room] or (room, other) in SIDEWAYS
        assert allowed, f"{path.relative_to(ROOT)} imports {other}"


def modules_after(code):
    script = f"import sys\n{code}\nimport json; print(json.dumps(sorted(sys.modules)))"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_the_library_is_light():
    loaded = modules_after("import forensics")
    assert not loaded & (HEAVY | {"click"})


def test_help_is_light():
    code = "from forensics_cli.main import cli\ntry:\n    cli(['--help'])\nexcept SystemExit:\n    pass"
    loaded = modules_after(code)
    assert not loaded & (HEAVY | {"numpy", "xxhash"})


def test_a_scan_of_floats_needs_no_heavy_package(tmp_path):
    code = "import forensics\nforensics.scan(forensics.open_checkpoint('synth:healthy'))"
    assert not modules_after(code) & HEAVY


def names_of(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_torch_is_imported_where_it_trains():
    importers = {
        path.relative_to(ROOT / "forensics").parts[0].removesuffix(".py")
        for path, _ in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if any(name.partition(".")[0] == "torch" for name in names_of(node))
    }
    # embedding.py: for a caller who already holds a torch tensor; dynamics' replay and hypotheses' driven cloud run the
    # optimizer itself; comparison runs a model over a text.
    assert importers == {"comparison", "dynamics", "embedding", "hypotheses", "toy", "updates"}


@pytest.mark.parametrize("module", ["toy.config", "toy.presets", "toy.corpus", "toy.cost", "updates", "recording"])
def test_settings_and_recordings_need_no_torch(module):
    assert not modules_after(f"import forensics.{module}") & {"torch", "transformers"}


def test_the_public_face():
    assert set(forensics.__all__) == {
        "Checkpoint",
        "Embedding",
        "ForensicsError",
        "__version__",
        "compare",
        "find_black_holes",
        "load_embedding",
        "open_checkpoint",
        "open_recording",
        "scan",
        "write_report",
    }
    for name in forensics.__all__:
        assert getattr(forensics, name) is not None
    assert set(forensics.__all__) <= set(dir(forensics))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = forensics.nothing


def test_nothing_names_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    for name in listed:
        path = ROOT / name
        if path.suffix not in (".png", ".safetensors") and path.is_file():
            text = path.read_text()
            for token in ("/" + "work/", "/" + "root/", "/home" + "/", "files.pythonhosted" + ".org"):
                assert token not in text, f"{name} names {token}"
