"""The report folder: complete, the same every time, inert whatever the tokens say, whole or not there."""

import csv
import json
import os
import re
import signal
import stat

import numpy as np
import pytest
from safetensors import safe_open

import forensics
from forensics.checkpoint import Checkpoint
from forensics.embedding import Embedding, Source
from forensics.errors import OutputError
from forensics.report import scan_json, write_report
from forensics.report.folder import write_folder
from forensics.report.markdown import code, plain
from forensics.scanning import Scan
from forensics.synthetic import plant, plant_groups
from forensics.vocabulary import Vocabulary

HOSTILE = (
    "| a | b |", "`code` ``two``", "<script>alert(1)</script>", "![x](http://e.example/x.png)", "\x1b[31mred\x1b[0m",
    "\u202egnp.exe", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a\nb\r\nc", '"; DROP TABLE', "\u200bzero", "\u0301mark",
    "</details>", "# heading", "\x00", "\ufeff", "ok", "\u3164", "&lt;", "\\|", "`", "``|``",
)  # fmt: skip


def scan_of(*embeddings, pieces=None, tied="absent", notes=()) -> Scan:
    vocabulary = None if pieces is None else Vocabulary(tuple(pieces), "plain")
    return forensics.scan(Checkpoint(Source("memory", "test"), embeddings, tied, vocabulary, {}, notes))


@pytest.fixture
def planted_scan():
    embedding = plant_groups(80, 32, [[3, 4, 5, 6], [7, 9]], zero_rows=3).embedding()
    return scan_of(embedding, pieces=[f"piece{i}" for i in range(70)])


def test_every_file_is_there_and_the_same_again(planted_scan, tmp_path):
    files = write_report(planted_scan, tmp_path / "one")
    write_report(planted_scan, tmp_path / "two")
    names = {path.name for path in files}
    figures = {"norms.png", "exponents.png", "populations.png", "angles.png"}
    assert names == {"report.md", "scan.json", "tokens.csv", "artifacts.safetensors"} | figures
    assert {p.name for p in (tmp_path / "one").iterdir()} == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_figures_are_pictures_of_a_fair_size(planted_scan, tmp_path):
    for path in write_report(planted_scan, tmp_path):
        if path.suffix == ".png":
            raw = path.read_bytes()
            assert raw.startswith(b"\x89PNG") and 5_000 < len(raw) < 200_000


def test_scan_json_is_the_scan(planted_scan, tmp_path):
    write_report(planted_scan, tmp_path)
    text = (tmp_path / "scan.json").read_text()
    assert text == scan_json(planted_scan)
    assert json.loads(text) == json.loads(json.dumps(planted_scan.to_dict()))


def test_tokens_csv_has_a_row_a_token(planted_scan, tmp_path):
    write_report(planted_scan, tmp_path)
    with (tmp_path / "tokens.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == list(range(80))
    assert json.loads(rows[3]["text"]) == "piece3" and rows[75]["text"] == ""
    assert [row["beyond_tokenizer"] for row in rows] == ["0"] * 70 + ["1"] * 10
    result = planted_scan.matrices[0]
    assert [float(row["norm"]) for row in rows] == result.geometry.norms.tolist()
    assert [int(row["hole_id"] or 0) for row in rows] == result.holes.hole_ids.tolist()
    assert rows[3]["hole_population"] == "4" and rows[3]["is_zero"] == "0"
    assert float(rows[3]["angle_deg"]) == result.geometry.hole_angles_deg[0]
    assert rows[79]["is_zero"] == "1" and rows[79]["angle_deg"] == ""


def test_artifacts_hold_mask_ids_and_rows(planted_scan, tmp_path):
    write_report(planted_scan, tmp_path)
    result = planted_scan.matrices[0]
    with safe_open(tmp_path / "artifacts.safetensors", "pt") as file:
        assert set(file.keys()) == {"black_hole_mask", "hole_id", "hole_rows"}
        assert file.get_tensor("black_hole_mask").numpy().tolist() == result.holes.mask.tolist()
        assert file.get_tensor("hole_id").numpy().tolist() == result.holes.hole_ids.tolist()
        rows = file.get_tensor("hole_rows")
    assert str(rows.dtype) == "torch.bfloat16"
    expected = result.embedding.values_of(np.array([h.representative for h in result.holes.holes]))
    assert (rows.float().numpy() == expected).all()


def test_two_matrices_carry_their_role_in_columns_keys_and_names(tmp_path):
    first, second = (plant_groups(40, 8, [[1, 2]], seed=s).embedding() for s in (1, 2))
    roles = [Embedding(e.rows_bytes, e.format, e.dim, r, r) for e, r in ((first, "input"), (second, "output"))]
    names = {path.name for path in write_report(scan_of(*roles, tied="different"), tmp_path)}
    assert {"norms_input.png", "norms_output.png"} <= names
    header = (tmp_path / "tokens.csv").read_text().splitlines()[0]
    assert "norm_input" in header and "hole_id_output" in header
    with safe_open(tmp_path / "artifacts.safetensors", "pt") as file:
        assert {"hole_id_input", "hole_id_output"} <= set(file.keys())


def test_an_older_report_leaves_no_stale_figure(planted_scan, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    write_report(planted_scan, tmp_path)
    healthy = scan_of(plant("healthy", rows=50, dim=16).embedding())
    write_report(healthy, tmp_path)
    assert not (tmp_path / "angles.png").exists() and not (tmp_path / "populations.png").exists()
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_hostile_tokens_are_inert_everywhere(tmp_path):
    rows = np.ones((len(HOSTILE), 4), np.float32)
    write_report(scan_of(Embedding.from_array(rows), pieces=HOSTILE, notes=("<b>note</b> `x` | y",)), tmp_path)
    report = (tmp_path / "report.md").read_text()
    table = (tmp_path / "tokens.csv").read_text()
    for text in (report, table, (tmp_path / "scan.json").read_text()):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b\ufeff\u3164]", text)
    with (tmp_path / "tokens.csv").open(newline="") as file:
        cells = [row["text"] for row in csv.DictReader(file)]
    assert [json.loads(cell) for cell in cells] == list(HOSTILE)
    assert all(cell.startswith('"') for cell in cells)
    assert "<script>" not in without_code(report) and "</details>" not in without_code(report).replace(
        "\n</details>", ""
    )
    assert "<b>" not in without_code(report)


def without_code(markdown):
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown)


@pytest.mark.parametrize("text", HOSTILE)
def test_code_spans_close_only_where_they_end(text):
    span = code(text)
    fence = re.match("`+", span)[0]
    inner = span[len(fence) : -len(fence)]
    assert span.endswith(fence) and not re.search(f"(?<!`){fence}(?!`)", inner)
    assert "|" not in re.sub(r"\\\|", "", inner)


def test_plain_text_has_no_markup():
    assert plain("<b> `x` [y](z) *w*") == r"\<b\> \`x\` \[y\](z) \*w\*"


def test_the_report_of_a_large_vocabulary_is_small(tmp_path):
    write_report(forensics.scan(forensics.open_checkpoint("synth:qwen3-4b")), tmp_path)
    assert (tmp_path / "report.md").stat().st_size < 20_000


def test_many_holes_are_cut_in_the_report_and_whole_in_the_json(tmp_path):
    groups = [[2 * i, 2 * i + 1] for i in range(100)]
    write_report(scan_of(plant_groups(400, 16, groups).embedding()), tmp_path)
    assert "60 more are in `scan.json`" in (tmp_path / "report.md").read_text()
    assert len(json.loads((tmp_path / "scan.json").read_text())["matrices"][0]["black_holes"]["holes"]) == 100


def fail(path):
    path.write_text("half")
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_report_as_it_was(tmp_path):
    write_folder(tmp_path, {"a.txt": b"old", "b.txt": b"old"})
    with pytest.raises(OutputError, match="No space left"):
        write_folder(tmp_path, {"a.txt": b"new", "b.txt": fail})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "old", "b.txt": "old"}


def test_a_failed_first_report_leaves_no_folder(tmp_path):
    with pytest.raises(OutputError):
        write_folder(tmp_path / "new" / "deep", {"b.txt": fail})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_writing_leaves_the_old_report(tmp_path):
    write_folder(tmp_path, {"a.txt": b"old"})

    def interrupt(path):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path, {"a.txt": b"new", "b.txt": interrupt})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write_folder(tmp_path / "file", {"a": b""})
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(OutputError, match="cannot be written"):
            write_folder(tmp_path / "new", {"a": b""})
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_real_full_disk(tmp_path):
    """Where it exists, /dev/full gives the real error on the real call."""
    full = "/dev/full"
    if not os.path.exists(full):  # noqa: PTH110
        pytest.skip("no /dev/full on this system")

    def write(path):
        with open(full, "wb") as file:  # noqa: PTH123
            file.write(b"x" * 100_000)

    with pytest.raises(OutputError, match="No space left"):
        write_folder(tmp_path / "new", {"a": write})
    assert not (tmp_path / "new").exists()
