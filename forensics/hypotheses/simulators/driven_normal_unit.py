"""The rows of ``torch.nn.Embedding`` as it comes, N(0, 1), then trained.

Logits of such rows differ by tens of nats, so that almost no dead token has a probability that the optimizer's eps lets
count (Stamp 02: gradients of 1.8e-10, 4 of 1,914 tokens moved at step 1): few rows move.
Trap: hidden states of such a model point apart, so that its h_mean is far shorter than sqrt(D), which the push has.
"""

from __future__ import annotations

from forensics.hypotheses.driving.hypothesis import DRIVE, undrivable
from forensics.hypotheses.hypothesis import Fixed, Hypothesis, Parameter
from forensics.hypotheses.simulators.driven_normal import simulate

HYPOTHESIS = Hypothesis(
    name="driven_normal_unit",
    title="torch's default initialisation, then trained",
    story="Rows began as torch.nn.Embedding makes them, N(0, 1), and AdamW moved those that had a gradient.",
    predicts="All rows different, norms near sqrt(D), centroid near zero: hardly moved.",
    source="torch.nn.Embedding; founding Stamp 01, 02, Nutcracker 01 to 03",
    parameters=(Parameter("sigma", "standard deviation", lambda context: Fixed(1.0)), *DRIVE),
    simulate=simulate,
    obstacle=undrivable,
    slow=True,
)
