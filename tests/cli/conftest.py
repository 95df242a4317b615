"""What every test of the command line starts from."""

import pytest


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The current folder, with nothing in it."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place
