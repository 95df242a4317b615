"""Names of models on the Hub: what is one, and what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.hub.address import Address, parse_address

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", Address("org/name")),
        ("Org-1/Name_2.5-B", Address("Org-1/Name_2.5-B")),
        ("org/name@v1.0", Address("org/name", "v1.0")),
        ("org/name@refs/pr/12", Address("org/name", "refs/pr/12")),
        (f"org/name@{COMMIT}", Address("org/name", COMMIT)),
        ("org/name:file.gguf", Address("org/name", None, "file.gguf")),
        ("org/name:sub/a file.gguf", Address("org/name", None, "sub/a file.gguf")),
        ("org/name@main:sub/model.safetensors", Address("org/name", "main", "sub/model.safetensors")),
        ("hf:gpt2", Address("gpt2")),
        ("hf:gpt2@main:model.safetensors", Address("gpt2", "main", "model.safetensors")),
        ("hf:org/name", Address("org/name")),
        ("hf://org/name", Address("org/name")),
    ],
)
def test_addresses(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "gpt2", "hf:", "org/", "/name", "./org/name", "../org", "org/../name", "a/b/c", "org//name", "org/na me",
        "org/name@", "org/name:", "org/name@a@b", "org/name@a b", "org/name:a:b", "org/name.git", "org/na--me",
        "org/na..me", ".org/name", "org/name-", "org/näme", "pkg:module", "synth:qwen3-4b", "org/name\n",
        "x" * 97 + "/y", "C:/models/name",
    ],
)  # fmt: skip
def test_what_is_no_address(text):
    assert parse_address(text) is None


names = st.from_regex(r"[a-z0-9]([a-z0-9_]{0,8}[a-z0-9])?", fullmatch=True)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@given(st.builds(Address, st.tuples(names, names).map("/".join), st.none() | paths, st.none() | paths))
def test_an_address_is_read_back(address):
    assert parse_address(str(address)) == address
    assert parse_address(f"hf:{address}") == address
