"""A recorded run whose figures are known, and claims about one quantity."""

import numpy as np

from forensics.claims import check_claims, parse_claims
from forensics.recording import Channel, Recording

HEAD = 'schema = "forensics.claims-file/1"\ntitle = "t"\nabout = "a"\n'
DEAD = [1, 3]


def claims_about(*tables):
    """A file with a claim for each table: quantity, value and parameters."""
    text = HEAD
    for i, table in enumerate(tables):
        rest = "".join(f"{key} = {value}\n" for key, value in table.items())
        text += f'[[claims]]\nid = "c{i}"\nstatement = "s"\npopulation = "p"\ndefinition = "d"\nsource = "x"\n{rest}'
    return parse_claims(text, "made.toml")


def measure(subject, quantity, value="0", **parameters):
    """The result of one claim."""
    said = {"quantity": f'"{quantity}"', "value": value}
    said |= {k: f'"{v}"' if isinstance(v, str) else v for k, v in parameters.items()}
    return check_claims(subject, [claims_about(said)]).results[0]


def centroids():
    """Out by 3, aside by 4, then at rest: path 7, net 5."""
    return np.array([[0, 0], [1, 0], [3, 0], [3, 4], [3, 4]], np.float32)


def made_run(*, leave_out=(), config=None):
    """Five tokens, two dead, steps 0 to 4; half of the dead move at step 3, and none at step 4."""
    series = {
        "centroid_dead": centroids(),
        "radius_mean_dead": [2.0, 1.5, 1.0, 0.5, 0.5],
        "radius_max_dead": [2.0, 2.5, 3.5, 1.0, 1.0],
        "radius_origin_dead": [1.0, 1.0, 2.0, 5.0, 5.0],
        "centroid_live": np.zeros((5, 2), np.float32),
        "radius_mean_live": [1.0] * 5,
        "radius_max_live": [1.0] * 5,
        "radius_origin_live": [1.0] * 5,
        "loss": [5.0, 4.0, 3.0, 2.5],
        "moved_dead": [1.0, 1.0, 0.5, 0.0],
        "h_mean": np.array([[3, 4], [4, 3], [4, 3], [np.nan, 0]], np.float32),
        "p_dead": np.array([[0.25, 0.75], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1]], np.float32),
        "logit_quantiles_dead": np.array([[-3, -2, -1, 0.5, 1, 2, 3]] * 4, np.float32),
    }
    series = {name: np.asarray(values) for name, values in series.items() if name not in leave_out}
    ids = {"p_dead": np.array(DEAD)}
    channels = [
        Channel(name, v.shape[1:], str(v.dtype), unit="nats", definition="of here", token_ids=ids.get(name))
        for name, v in series.items()
    ]
    first = {name: 5 - len(v) for name, v in series.items()}
    frames = [
        (step, {name: v[step - first[name]] for name, v in series.items() if step >= first[name]}) for step in range(5)
    ]
    return Recording.from_frames(
        config or {"steps": 4, "model": {"dim": 2}}, channels, frames, vocab_size=5, dead_ids=DEAD, name="made"
    )
