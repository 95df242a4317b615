"""A list of token ids: each mistake names the file as it was given, the reason, and what was expected."""

from pathlib import Path

import pytest

from forensics.errors import SelectionError
from forensics.hypotheses.id_file import read_ids


@pytest.mark.parametrize("text", ["[5, 1, 1]", "5 1\n", "1,5"])
def test_a_list(tmp_path, text):
    (tmp_path / "ids.txt").write_text(text)
    assert read_ids(tmp_path / "ids.txt", 6).tolist() == [1, 5]


@pytest.mark.parametrize(
    ("given", "content", "said"),
    [
        ("", None, ".: cannot be read (Is a directory)"),
        ("x/ids.txt", None, "x/ids.txt: cannot be read (No such file or directory)"),
        ("a\0b", None, "a\0b: cannot be read (embedded null byte)"),
        ("ids.txt", b"\xff", "ids.txt: not UTF-8 (byte 0)"),
        ("ids.txt", b"[1", "ids.txt: not a JSON list ("),
        ("ids.txt", b"1 two", "ids.txt: 1 of 2 entries are not token ids"),
        ("ids.txt", b"6", "ids.txt: no token 6: the matrix has rows 0 to 5"),
    ],
)
def test_a_mistake(tmp_path, monkeypatch, given, content, said):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(given).write_bytes(content)
    with pytest.raises(SelectionError) as caught:
        read_ids(Path(given), 6)
    assert caught.value.message.startswith(said) and "Error" not in caught.value.message and caught.value.hint
