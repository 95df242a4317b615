"""Hypotheses are found by being there; what is no hypothesis is named with its file and reason."""

import pkgutil

import pytest

from forensics.errors import HypothesisError
from forensics.hypotheses import discovery, simulators
from forensics.hypotheses.discovery import hypotheses, load_hypothesis
from forensics.hypotheses.hypothesis import Hypothesis

OWN = """
from dataclasses import dataclass
from forensics.hypotheses.hypothesis import Hypothesis
from forensics.hypotheses.sampling.clouds import one_row

@dataclass
class Held:
    number: int = 3

HYPOTHESIS = Hypothesis(
    name="own", title="t", story="s", predicts="p", source="me",
    simulate=lambda context, parameters, rng: one_row(context, context.anchor),
)
"""


def test_every_module_of_the_package_is_a_hypothesis_of_its_name():
    found = hypotheses()
    assert list(found) == sorted(found)
    assert set(found) == {module.name for module in pkgutil.iter_modules(simulators.__path__)}
    for name, hypothesis in found.items():
        assert hypothesis.name == name
        assert hypothesis.same_as is None or hypothesis.same_as in found
        texts = (hypothesis.title, hypothesis.story, hypothesis.predicts, hypothesis.source)
        assert all(texts) and len({p.name for p in hypothesis.parameters}) == len(hypothesis.parameters)


def test_a_name_is_found_with_either_mark():
    assert load_hypothesis("monument-valley") is load_hypothesis("monument_valley")


def test_a_file_of_one_s_own_is_a_hypothesis(tmp_path):
    (tmp_path / "a").mkdir()
    for folder, name in (("", "own"), ("a", "other")):
        (tmp_path / folder / "own.py").write_text(OWN.replace('"own"', f'"{name}"'))
    first, second = load_hypothesis(str(tmp_path / "own.py")), load_hypothesis(str(tmp_path / "a" / "own.py"))
    assert isinstance(first, Hypothesis)
    assert (first.name, second.name) == ("own", "other")


def test_a_name_that_does_not_exist_names_the_near_ones_first():
    with pytest.raises(HypothesisError, match="'snowbal' does not exist") as error:
        load_hypothesis("snowbal")
    assert error.value.hint.startswith("choose snowball, ")
    assert "zero_rows" in error.value.hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "own.py: HYPOTHESIS is to be a Hypothesis, found nothing of that name"),
        ("HYPOTHESIS = 3", "own.py: HYPOTHESIS is to be a Hypothesis, found a int"),
        ("\n1 / 0", "own.py: cannot be imported: ZeroDivisionError: division by zero"),
        ("import nowhere_at_all", "own.py: cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("\nx = (", r"own.py: cannot be imported: SyntaxError: '(' was never closed (own.py, line 2)"),
        ("raise SystemExit(3)", "own.py: cannot be imported: SystemExit: 3"),
    ],
)
def test_a_file_that_is_no_hypothesis_says_why(tmp_path, text, reason):
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(HypothesisError) as error:
        load_hypothesis(str(path))
    assert error.value.message.startswith(reason)
    assert "HYPOTHESIS" in error.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["own.py"]
    # Mended, it is read again.
    path.write_text(OWN)
    assert load_hypothesis(str(path)).name == "own"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title="t"', "title=3", "title is to be a text, found 3"),
        ('name="own"', 'name=""', "name is to be a text, found ''"),
        ('source="me"', "source=None", "source is to be a text, found None"),
        ('source="me"', 'source="me", slow=1', "slow is to be True or False, found 1"),
        ('source="me"', 'source="me", same_as=1', "same_as is to be a text or None, found 1"),
        ('source="me"', 'source="me", obstacle=1', "obstacle is to be a function, found 1"),
        ('source="me"', 'source="me", parameters=["x"]', "parameters is to be a tuple of Parameter, found ['x']"),
        ('source="me"', 'source="me", parameters=("x",)', "parameters is to be a tuple of Parameter(name, "),
        (
            "simulate=lambda context, parameters, rng: one_row(context, context.anchor)",
            "simulate=3",
            "simulate is to be",
        ),
    ],
)
def test_a_field_of_another_kind_is_named(tmp_path, old, new, said):
    assert old in OWN
    (tmp_path / "own.py").write_text(OWN.replace(old, new))
    with pytest.raises(HypothesisError) as error:
        load_hypothesis(str(tmp_path / "own.py"))
    assert error.value.message.startswith(f"own.py: {said}") and error.value.hint


@pytest.mark.parametrize("name", ["monument_valley", "monument-valley"])
def test_a_shipped_name_is_refused_with_both_named(tmp_path, name):
    (tmp_path / "own.py").write_text(OWN.replace('"own"', f'"{name}"'))
    with pytest.raises(HypothesisError, match=f"own.py: .*'{name}'.*simulators.monument_valley"):
        load_hypothesis(str(tmp_path / "own.py"))


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(HypothesisError, match=r"own.py: no such file"):
        load_hypothesis(str(tmp_path / "own.py"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("HYPOTHESIS = None", "broken_one: HYPOTHESIS is to be a Hypothesis"),
        ("import nowhere_at_all", "broken_one: cannot be imported: ModuleNotFoundError"),
        ("from forensics.hypotheses.simulators.singular import HYPOTHESIS", "'singular' is defined in broken_one and"),
    ],
)
def test_a_broken_module_of_the_package_is_named(tmp_path, monkeypatch, text, reason):
    (tmp_path / "broken_one.py").write_text(text)
    monkeypatch.setattr(simulators, "__path__", [*simulators.__path__, str(tmp_path)])
    monkeypatch.delitem(discovery.sys.modules, f"{simulators.__name__}.broken_one", raising=False)
    with pytest.raises(HypothesisError, match=reason):
        hypotheses()
    discovery.sys.modules.pop(f"{simulators.__name__}.broken_one", None)
