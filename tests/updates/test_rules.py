"""A rule or a pair that cannot be is refused where it is written, without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forensics.errors import ConfigError
from forensics.updates import POLICIES, Policy, Rule, require_pair

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "lion"}, "no optimizer is called 'lion'"),
        ({"decay": "cosine"}, "no decay is called 'cosine'"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"eps": float("inf")}, "eps is inf"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"beta1": 1.0}, "beta1 is 1.0"),
        ({"beta2": -0.1}, "beta2 is -0.1"),
        ({"momentum": 0.9}, "momentum means nothing to adam"),
        ({"kind": "sign", "momentum": 0.9}, "momentum means nothing to sign"),
        ({"kind": "sgd", "fused": True}, "no fused kernel for sgd"),
        ({"kind": "sign", "fused": True}, "no fused kernel for sign"),
        ({"kind": "coupled-adam", "fused": True}, "no fused kernel for coupled-adam"),
        ({"fused": True, "foreach": True}, "not with adam fused"),
        ({"kind": "sign", "foreach": True}, "not with sign"),
    ],
)
def test_what_is_no_rule(settings, says):
    with pytest.raises(ConfigError, match=says):
        Rule(**settings)


def test_what_a_rule_keeps_per_element():
    assert Rule().moments == Rule(kind="coupled-adam").moments == ("m", "v")
    assert Rule(kind="sgd", momentum=0.9).moments == ("m",)
    assert Rule(kind="sgd").moments == Rule(kind="sign").moments == ()


@pytest.mark.parametrize("flag", ["fused", "foreach"])
def test_torchs_own_words_round_to_nearest(flag):
    rule = Rule(**{flag: True})
    for name, policy in POLICIES.items():
        assert policy.name == name
        if name in {"bf16-stochastic", "bf16-kahan"}:
            with pytest.raises(ConfigError, match=f"{flag} rounds to nearest and cannot follow {name}"):
                require_pair(rule, policy)
        else:
            require_pair(rule, policy)


def test_a_policy_is_one_of_those_that_are_defined():
    with pytest.raises(ConfigError, match="no precision is called 'fp8'"):
        require_pair(Rule(), Policy(**dict.fromkeys(Policy.__slots__, "fp8")))


def test_rules_need_no_torch():
    script = "import sys, forensics.updates, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=True
    )
    assert not {"torch", "numpy"} & set(json.loads(done.stdout))
