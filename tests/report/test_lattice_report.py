"""The lattice report: complete, the same every time, inert, and no neighbour's file is touched."""

import json
import re

import numpy as np
import pytest

import forensics
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.formats import FORMATS, BlockFormat
from forensics.report import write_report
from forensics.report.lattice_figures import FIGURES
from forensics.report.lattice_report import lattice_json, lattice_text, write_lattice_report
from forensics.scanning.lattice import scan_lattice
from forensics.synthetic import plant_groups
from forensics.vocabulary import Vocabulary

HOSTILE = (
    "| a | b |", "`code` ``two``", "<script>alert(1)</script>", "![x](http://e.example/x.png)", "\x1b[31mred\x1b[0m",
    "\u202egnp.exe", "a\nb\r\nc", "</details>", "# heading", "\x00", "\u200bzero", "&lt;", "\\|", "``|``",
)  # fmt: skip


def checkpoint_of(*embeddings, pieces=None):
    vocabulary = None if pieces is None else Vocabulary(tuple(pieces), "plain")
    return Checkpoint(Source("memory", "test"), embeddings, "absent", vocabulary)


def groups(*ids, seed=0, rows=80, dim=16, **named):
    return plant_groups(rows, dim, ids, seed=seed, **named).embedding()


def surveyed(*embeddings, pieces=None, **named):
    return scan_lattice(checkpoint_of(*embeddings, pieces=pieces), **named)


@pytest.fixture(scope="module")
def smoke():
    """Two holes with neighbours one and two steps away: every figure is drawn."""
    fmt = FORMATS["bfloat16"]
    rng = np.random.default_rng(0)
    steps = rng.integers(15_000, 16_500, (60, 12))
    steps[:20] = steps[0] + rng.integers(-1, 2, (20, 12))
    steps[20:24] = steps[20]
    steps[1:4] = steps[0]
    steps[4:6] = steps[4]
    return Embedding(fmt.words_of(steps).view(np.uint8), fmt, 12)


def test_every_file_is_listed_and_the_same_again(smoke, tmp_path):
    result = surveyed(smoke)
    files = write_lattice_report(result, tmp_path / "one")
    write_lattice_report(surveyed(smoke), tmp_path / "two")
    names = {path.name for path in files}
    assert names == {"lattice.md", "lattice.json", *(f"{name}.png" for name in FIGURES)}
    assert {p.name for p in (tmp_path / "one").iterdir()} == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    report = (tmp_path / "one" / "lattice.md").read_text()
    assert set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", report)) == {f"{name}.png" for name in FIGURES}
    assert "forensics lattice test" in report and str(tmp_path) not in report


def test_figures_are_pictures_of_a_fair_size(smoke, tmp_path):
    for path in write_lattice_report(surveyed(smoke), tmp_path):
        if path.suffix == ".png":
            raw = path.read_bytes()
            width, height = (int.from_bytes(raw[i : i + 4], "big") for i in (16, 20))
            assert raw.startswith(b"\x89PNG") and 5_000 < len(raw) < 200_000
            assert 500 < width < 2000 and 300 < height < 1500


def test_lattice_json_is_the_survey(smoke, tmp_path):
    result = surveyed(smoke)
    write_lattice_report(result, tmp_path)
    text = (tmp_path / "lattice.json").read_text()
    assert text == lattice_json(result) and "NaN" not in text and "Infinity" not in text
    assert json.loads(text) == json.loads(json.dumps(result.to_dict()))


def test_the_claim_carries_the_figures(smoke, tmp_path):
    result = surveyed(smoke)
    ((_, survey),) = result.surveys
    write_lattice_report(result, tmp_path)
    report = (tmp_path / "lattice.md").read_text()
    for text in (report, lattice_text(result)):
        assert f"{len(survey.selection):,} tokens on {len(survey.rows):,} unique rows" in text
        assert f"{survey.graph.edges:,} pairs are one step apart" in text
        for population, _ in survey.counts:
            assert population.name in text


def shapes():
    rng = np.random.default_rng(1)
    nan = rng.standard_normal((30, 5)).astype(np.float32)
    nan[[3, 4]], nan[[7, 8], 1] = nan[3], np.nan
    nan[8] = nan[7]
    zeros = np.array([[0, 1], [0, 1], [-0.0, 1], [-0.0, 1]], np.float32)
    return {
        "one hole": groups([1, 2]),
        "equal": Embedding.from_array(np.full((5, 6), 0.3, np.float32)),
        "equal, many": Embedding.from_array(np.full((700, 300), 0.3, np.float32)),
        "one number": Embedding.from_array(np.full((2, 1), 0.3, np.float16)),
        "nan": Embedding.from_array(nan),
        "signs of zero": Embedding.from_array(zeros),
        "float8_e4m3fn": groups([1, 2], format=FORMATS["float8_e4m3fn"]),
        "float8_e5m2": groups([1, 2], format=FORMATS["float8_e5m2"]),
        "float32": groups([1, 2], [3, 4], format=FORMATS["float32"]),
    }


@pytest.mark.parametrize(("name", "selection"), [*((n, "exponent:5") for n in shapes()), ("float32", "holes")])
def test_every_shape_gives_a_report(name, selection, tmp_path):
    result = surveyed(shapes()[name], selection=selection)
    files = write_lattice_report(result, tmp_path)
    if name in ("equal, many", "nan"):  # where there are no directions to draw, chance must not choose some
        for path in write_lattice_report(result, tmp_path / "again"):
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    assert {"lattice.md", "lattice.json", "exponent_profile.png"} <= {path.name for path in files}
    report = (tmp_path / "lattice.md").read_text()
    assert "nan" not in report and "inf," not in report
    assert lattice_text(result)


def test_no_holes_is_a_clear_statement(tmp_path):
    result = surveyed(groups())
    assert {p.name for p in write_lattice_report(result, tmp_path)} == {"lattice.md", "lattice.json"}
    for text in ((tmp_path / "lattice.md").read_text(), lattice_text(result)):
        assert "there is nothing to look around" in text and "--around" in text


def test_two_matrices_carry_their_role_in_the_names(smoke, tmp_path):
    roles = [Embedding(e.rows_bytes, e.format, e.dim, r, r) for e, r in ((smoke, "input"), (groups([1, 2]), "output"))]
    names = {path.name for path in write_lattice_report(surveyed(*roles), tmp_path)}
    assert {"lattice_map_input.png", "exponent_profile_output.png"} <= names
    assert "lattice_map.png" not in names
    report = (tmp_path / "lattice.md").read_text()
    assert report.count("\n## `") == 2 and set(re.findall(r"\]\(([^)]+)\)", report)) < names


def test_stale_figures_vanish_and_others_stay(smoke, tmp_path):
    write_report(forensics.scan(checkpoint_of(smoke)), tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write_lattice_report(surveyed(smoke), tmp_path)
    assert (tmp_path / "components.png").exists()
    write_lattice_report(surveyed(groups()), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if not p.name.startswith("lattice.")} == before
    write_report(forensics.scan(checkpoint_of(groups())), tmp_path)
    assert (tmp_path / "lattice.md").exists()


def test_hostile_tokens_are_inert(tmp_path):
    rows = np.random.default_rng(0).standard_normal((len(HOSTILE), 4)).astype(np.float32)
    rows[1:3] = rows[0]
    result = surveyed(Embedding.from_array(rows), pieces=HOSTILE, selection="exponent:255")
    write_lattice_report(result, tmp_path)
    report = (tmp_path / "lattice.md").read_text()
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", report)
    for markup in ("<script", "![x]", "# heading", "&lt;", "\x1b", "\u202e", "\x00", "\u200b"):
        assert markup not in outside
    assert not any(character in report for character in "\x1b\u202e\x00\u200b\r")
    assert report.count("</details>") == report.count("<details>") + report.count('`"</details>"`')
    table = [line for line in report.splitlines() if re.search(r"\(\d+\) \|", line)]
    assert len(table) == len(HOSTILE) - 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {5}
    assert "\x1b" not in lattice_text(result)


def test_a_hostile_request_is_inert(tmp_path):
    result = surveyed(groups([1, 2]), pieces=["`<b>|\x1b[31m"], around="token:`<b>|\x1b[31m")
    write_lattice_report(result, tmp_path)
    report = (tmp_path / "lattice.md").read_text()
    assert "\x1b" not in report and "<b>" not in re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", report)


def test_blocks_have_their_own_table(tmp_path):
    rows = np.random.default_rng(0).integers(0, 100, (9, 34), np.uint8)
    rows[:, :2] = (0, 0x38)
    rows[4] = rows[3]
    result = surveyed(Embedding(rows, BlockFormat("Q8_0", 8, 32, 34), 32), pieces=[f"p{i}" for i in range(9)])
    assert {p.name for p in write_lattice_report(result, tmp_path)} == {"lattice.md", "lattice.json"}
    report = (tmp_path / "lattice.md").read_text()
    assert '| `"p3"` (3) | 2 | 1 | 1 | 0 | 0 | 0 |' in report
    assert "equal scales" in lattice_text(result)
