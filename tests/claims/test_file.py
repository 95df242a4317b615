"""Claims files: what they may say, how far a printed number reaches, and where a mistake stands."""

from decimal import Decimal
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.claims import load_claims, parse_claims, read_claims, shipped_claims, shipped_names
from forensics.claims.conditions import parse_condition
from forensics.claims.registry import quantities
from forensics.errors import ConfigError

HEAD = 'schema = "forensics.claims-file/1"\ntitle = "t"\nabout = "a"\n'
CLAIM = """
[[claims]]
id = "one"
statement = "s"
quantity = "norm_ratio"
value = 2.96
population = "p"
definition = "d"
source = "there"
"""
RIVALS = CLAIM.replace("value = 2.96\n", "") + (
    '[[claims.rivals]]\nname = "a"\nvalue = 1.5\n[[claims.rivals]]\nname = "b"\nvalue = 2.50\n'
)


def only(text):
    (claim,) = parse_claims(HEAD + text, "f.toml").claims
    return claim


def changed(old, new, text=CLAIM):
    assert old in text
    return HEAD + text.replace(old, new, 1)


NORM = CLAIM.replace('"norm_ratio"', '"norm"\nrows = "all"\nstatistic = "mean"')


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (HEAD + CLAIM + "x = = 1\n", "f.toml: not valid TOML: Invalid value (at line 13", None),
        (HEAD + CLAIM + "x = " + "[" * 9999, "not TOML that can be read", None),
        (changed("2.96", "9" * 5000), "not TOML that can be read", None),
        (changed('id = "one"\n', ""), "line 5: id: is missing", None),
        (changed('"one"', "1"), "line 6: id: expected a text, found 1", None),
        (changed('"one"', '" "'), "line 6: id: expected a text", None),
        (changed('population = "p"\n', ""), "line 5: population: is missing", None),
        (changed('source = "there"\n', ""), "line 5: source: is missing", None),
        (changed("norm_ratio", "norm_ration"), "line 8: quantity: nothing to measure is called", "norm_ratio?"),
        (changed("value", "valeu"), "line 9: valeu: there is no such key", "value?"),
        (changed("value = 2.96", 'value = "x"'), "line 9: value: expected a finite number, found 'x'", None),
        (changed("value = 2.96", "value = true"), "line 9: value: expected a finite number, found True", None),
        (changed("value = 2.96", "value = nan"), "line 9: value: expected a finite number, found NaN", None),
        (changed("value = 2.96", "value = 1e999"), "line 9: value: expected a finite number", None),
        (changed("value = 2.96", "value = 1979-05-27"), "line 9: value: expected a finite number", None),
        (changed("value = 2.96", "value = [2.96]"), "line 9: value: expected a finite number, found [", None),
        (changed("value = 2.96\n", ""), "line 5: value: expected either value or rivals", None),
        (changed("2.96", "2.96\ntolerance = -1"), "line 10: tolerance: expected a number from 0, found -1", None),
        (changed("2.96", "2.96\ntolerance_relative = -0.1"), "line 10: tolerance_relative: expected", None),
        (changed("2.96", "2.96\ntolerance = 1\ntolerance_relative = 1"), "line 10: tolerance: expected an abs", None),
        (changed("2.96", '2.96\ntolerance = "1"'), "line 10: tolerance: expected a finite number", None),
        (HEAD + CLAIM + CLAIM, "line 15: id: another claim is called 'one'", "unique"),
        (changed('name = "a"\n', "", RIVALS), "line 12: rivals[0]: name: is missing", None),
        (changed('"b"', '"a"', RIVALS), "name: another rival is called 'a'", None),
        (changed("value = 1.5\n", "", RIVALS), "rivals[0]: value: is missing", None),
        (changed("value = 1.5", "valu = 1.5", RIVALS), "rivals[0]: valu: there is no such key", "value?"),
        (changed('"a"', '"a"\ntolerance = -2', RIVALS), "rivals[0].tolerance: expected a number from 0", None),
        (HEAD + RIVALS.split("[[claims.rivals]]\nname = \"b\"")[0], "rivals: expected two or more tables", None),
        (changed("[[claims.rivals]]", 'value = 1\n[[claims.rivals]]', RIVALS), "found both", None),
        (changed("2.96", "2.96\nneeds = 3"), "line 10: needs: expected conditions such as", None),
        (changed("2.96", '2.96\nneeds = "stamp"'), "line 10: needs: no conditions are called 'stamp'", "defines none"),
        (
            HEAD + "[conditions.wide]\nsteps = 1\n[conditions.deep]\nsteps = 2\n"
            + CLAIM.replace("2.96", '2.96\nneeds = "wid"'),
            "line 14: needs: no conditions are called 'wid'",
            "defined are wide, deep",
        ),
        (changed("2.96", '2.96\nneeds = { "matrix.nope" = 3 }'), "line 10: needs.matrix.nope: there is no such key; "
         "known are source.kind, matrix.rows, matrix.dim, matrix.dtype, recorded.steps", None),
        (changed("2.96", '2.96\nneeds = { "recorded.alive" = 3 }'), "needs.recorded.alive: there is no such key", None),
        (changed("2.96", '2.96\nneeds = { "matrix.rows" = ">" }'), "needs.matrix.rows: expected a value, or", None),
        (changed("2.96", '2.96\nneeds = { "a.b" = "=> 3" }'), "needs.a.b: expected a value, or one of >=", None),
        (changed("2.96", '2.96\nneeds = { "a.b" = [">= 3", 1] }'), "needs.a.b: expected a value, or one of >=", None),
        (changed("2.96", '2.96\nneeds = { "matrix.rows" = "3" }'), "matrix.rows: expected a number, found '3'", None),
        (changed("2.96", '2.96\nneeds = { "matrix.rows" = true }'), "matrix.rows: expected a number, found True", None),
        (changed("2.96", '2.96\nneeds = { "source.kind" = 3 }'), "source.kind: expected a text, found 3", None),
        (
            HEAD + '[conditions.wide]\nsteps = 1\n\n[conditions.deep]\n"matrix.nope" = 2\n' + CLAIM,
            "line 7: conditions.deep.matrix.nope: there is no such key",
            None,
        ),
        (changed("2.96", '2.96\nneeds = { "a.b" = ">= x" }'), "needs.a.b: expected a number after >=", None),
        (changed("2.96", "2.96\nneeds = { a = [[1]] }"), "needs.a: expected a text, a number", None),
        (changed("2.96", '2.96\nrole = "both"'), "line 10: role: expected input or output", None),
        (HEAD + NORM.replace('rows = "all"\n', ""), "line 5: rows: is missing: norm needs rows, statistic", None),
        (HEAD + NORM.replace('"all"', '"hole:0"'), "line 9: rows: expected all, in-hole, rest or hole:N", None),
        (HEAD + NORM.replace('"mean"', '"mode"'), "line 10: statistic: expected one of mean, std", None),
        (
            changed('"norm_ratio"', '"selection_tokens"\nselection = "expo:5"'),
            "line 9: selection: unknown selection",
            None,
        ),
        (changed('"norm_ratio"', '"last_motion"\nrole = "input"'), "line 9: role: there is no such key", None),
        (changed('"norm_ratio"', '"still_share_step"\nshare = 1.5'), "line 9: share: expected a share above 0", None),
        (changed('"norm_ratio"', '"channel"\nchannel = "loss"\nstep = -1'), "step: expected a whole number", None),
        (HEAD.replace("claims-file/1", "claims-file/9") + CLAIM, "line 1: schema: expected 'forensics.cl", None),
        (HEAD.replace('title = "t"\n', "") + CLAIM, "line 1: title: is missing", None),
        (HEAD + 'subject = ["x"]\n' + CLAIM, "line 4: subject: there is no such key", "subjects?"),
        (HEAD + "subjects = [3]\n" + CLAIM, "line 4: subjects: expected conditions", None),
        (HEAD + "conditions = 3\n" + CLAIM, "line 4: conditions: expected [conditions.NAME] tables", None),
        (HEAD, "line 1: claims: expected [[claims]] tables, found nothing", None),
        (HEAD + "claims = 3\n", "line 4: claims: expected [[claims]] tables, found 3", None),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_line_and_key(text, said, hint):
    with pytest.raises(ConfigError) as caught:
        parse_claims(text, "f.toml")
    assert caught.value.message.startswith("f.toml") and said in caught.value.message, caught.value.message
    assert hint is None or hint in caught.value.hint


def test_lines_are_not_led_astray_by_texts_and_comments():
    decoy = '\nnote = """\n[[claims]]\nid = 5\n"""\n# [[claims]]\n'
    text = HEAD.replace('about = "a"', 'about = """\n[[claims]]\nvalue = 7"""') + CLAIM
    with pytest.raises(ConfigError, match="line 11: value: expected a finite"):
        parse_claims(text.replace("2.96", '"x"'), "f.toml")
    with pytest.raises(ConfigError, match="line 14: note: there is no such key"):
        parse_claims(HEAD + CLAIM + decoy, "f.toml")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"\xff", "not UTF-8 at byte 0"), (b"#" * (5 << 20), "more than 4 MiB")],
)
def test_a_file_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_claims(path)


def test_a_file_as_editors_of_windows_begin_it(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + (HEAD + CLAIM).encode())
    assert len(read_claims(tmp_path / "mine.toml").claims) == 1


def test_a_name_or_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "init.toml").write_text(HEAD + CLAIM)
    assert len(load_claims("init.toml").claims) == 1 < len(load_claims("init").claims)
    with pytest.raises(ConfigError) as caught:
        load_claims("toys")
    assert caught.value.hint == "did you mean toy?"


@given(st.integers(-(10**6), 10**6), st.integers(0, 9))
def test_a_printed_number_reaches_half_a_unit_of_its_last_digit(digits, places):
    printed = f"{Decimal(digits).scaleb(-places):f}"
    if "." not in printed:
        return
    (rival,) = only(CLAIM.replace("2.96", printed)).rivals
    unit = 10.0**-places
    assert rival.tolerance == (pytest.approx(unit / 2),)
    for off, holds in ((0, True), (0.49, True), (-0.49, True), (0.51, False), (-0.51, False)):
        assert rival.holds(float(printed) + off * unit) is holds


@pytest.mark.parametrize(
    ("said", "tolerance"),
    [
        ("2.96", 0.005), ("1.0000", 5e-5), ("6.68e-04", 5e-7), ("42e6", 5e5), ("0.0", 0.05), ("3", 0), ("-2", 0),
        ("2.96\ntolerance = 0", 0), ("4810\ntolerance = 0.5", 0.5), ("-4.0\ntolerance_relative = 0.25", 1.0),
    ],
)  # fmt: skip
def test_tolerances(said, tolerance):
    assert only(CLAIM.replace("2.96", said)).rivals[0].tolerance == (pytest.approx(tolerance),)


def test_a_rival_has_its_own_tolerance_or_that_of_the_claim():
    claim = only(RIVALS.replace('"a"', '"a"\ntolerance = 0.25\nsource = "elsewhere"'))
    assert [r.tolerance for r in claim.rivals] == [(0.25,), (0.005,)]
    assert [r.source for r in claim.rivals] == ["elsewhere", "there"]
    whole = only(RIVALS.replace('source = "there"', 'source = "there"\ntolerance = 3'))
    assert [r.tolerance for r in whole.rivals] == [(3,), (3,)]


def test_lists_and_texts_hold_only_if_alike():
    claim = only(CLAIM.replace("norm_ratio", "hole_angles").replace("2.96", "[26.6, 26]"))
    assert claim.rivals[0].holds((26.64, 26)) and not claim.rivals[0].holds((26.64, 26.1))
    assert not claim.rivals[0].holds((26.6,)) and not claim.rivals[0].holds((26.6, 26, 26))
    text = only(CLAIM.replace("norm_ratio", "dtype").replace("2.96", '"bfloat16"')).rivals[0]
    assert text.holds("bfloat16") and not text.holds("float16") and text.tolerance == ()
    never = only(CLAIM.replace('"norm_ratio"', '"liftoff_step"\nwhich = "live"').replace("2.96", '"never"')).rivals[0]
    assert never.holds("never") and not never.holds(31)


@pytest.mark.parametrize(
    ("said", "holding", "not_holding"),
    [
        (0.02, (0.02,), (0.03, None, "0.02")),
        (1, (1, 1.0), (True, 2)),
        (True, (True,), (1, None)),
        ("adam", ("adam",), ("sgd", None)),
        (["a", "b"], ("a", "b"), ("c",)),
        (">= 100", (100, 101), (99, None, "x", True)),
        ("< 0.5", (0.4,), (0.5,)),
        ("!= planted", ("hub", None), ("planted",)),
        ("!= 3", (4, None), (3,)),
    ],
)
def test_conditions(said, holding, not_holding):
    condition = parse_condition("a.b", said)
    assert all(condition.unmet(fact) is None for fact in holding)
    for fact in not_holding:
        assert condition.unmet(fact).startswith("needs a.b ")


def test_named_conditions_and_tables_add_up():
    head = HEAD + '[conditions.wide]\n"model.dim" = 2560\nmodel.layers = 4\n'
    claim = parse_claims(head + CLAIM + 'needs = ["wide", { steps = ">= 9" }]', "f.toml").claims[0]
    assert [str(c) for c in claim.needs] == ["model.dim = 2560", "model.layers = 4", "steps >= 9"]


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_files_are_meant_for_somebody_and_tell_their_tolerances(name):
    file = shipped_claims(name)
    assert file.subjects and file.claims and "half a unit" in file.about


def test_the_two_lists_of_populations_have_one_sum():
    (claim,) = [c for c in shipped_claims("qwen3-4b-instruct-2507").claims if c.id == "black-hole-populations"]
    log, notebooks = claim.rivals
    assert sum(log.value) == sum(notebooks.value) == 2100 and len(log.value) == len(notebooks.value) == 13
    assert not log.holds(notebooks.value) and not notebooks.holds(log.value)


@pytest.mark.parametrize("quantity", quantities().values(), ids=lambda q: q.name)
def test_a_quantity_says_what_it_is(quantity):
    assert quantity.population and quantity.definition
    for text in (quantity.unit, quantity.population, quantity.definition):
        assert {field for _, field, _, _ in Formatter().parse(text) if field} <= {*quantity.parameters}
