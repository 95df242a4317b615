"""The six sections of a dynamics report: their titles, methods in three lines, and caveats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """What a section says whatever was found.

    Attributes:
        title: a few words.
        method: three lines.
        caveats: one sentence each.
    """

    title: str
    method: str
    caveats: tuple[str, ...]


SECTIONS: Mapping[int, Section] = {
    1: Section(
        "The mean hidden state and the spread about it",
        "h is the output of the final norm, the vector that the unembedding multiplies; h_mean is its mean over batch "
        "and positions of the forward that made the step's update (weights of the step before).\n"
        "Figures about h are the run's own, taken while it trained; changes count against their step-to-step noise.\n"
        "The unigram entropy of the stream is the loss of a model that knows the tokens' shares and no context.",
        (
            "h_mean includes the last position of each sequence, whose prediction is not scored.",
            "A correlation over training shows that two courses go together, not that one causes the other.",
        ),
    ),
    2: Section(
        "Drift",
        "The centroid is the mean row of the recorded dead (live) tokens, about the origin of the stored matrix.\n"
        "Path length and straightness are over the recorded steps; directedness compares the net displacement with a "
        "random walk of the same step lengths.\n"
        "The plane of the small multiples is the same in every panel: the dead rows' first two principal directions.",
        (
            "A coarser record has a shorter path; runs are compared at one cadence.",
            "Radii are about the centroid unless they are said to be about the origin.",
        ),
    ),
    3: Section(
        "Modes of motion",
        "The dead rows' displacement over a window is split by least squares: translation, then isotropic expansion, "
        "rotation and shear about the centroid, then the remainder; the energies add up.\n"
        "Intervals are bootstraps over tokens.\n"
        "Beside each share stands what a random displacement of the same size would give.",
        ("With fewer tokens than D squared a linear map absorbs part of any motion: read each share against chance.",),
    ),
    4: Section(
        "Motion on the lattice, and freezing",
        "A displacement is counted in ulp of the start and in steps of ordinals, exact across binades and zero.\n"
        "A token's phase ends with its last occurrence; a token that moves at the last step is still moving.\n"
        "Survival curves take tokens still in motion at the end as censored (Kaplan & Meier 1958).",
        (
            "Freezing is only known in hindsight: a longer run can thaw what this one calls still.",
            "Each definition of frozen gives another step; they stand side by side.",
        ),
    ),
    5: Section(
        "Why it stops",
        "The update of each element is computed from the recorded gradient, moments and learning rate, and held "
        "against half the gap to the neighbouring word in its direction.\n"
        "The replay runs the optimizer itself on the recorded words and compares bit by bit.\n"
        "What W alone would tell is held against the recorded gradient and moments.",
        ("Moments after an update are recorded, so the update is told without rerunning the model.",),
    ),
    6: Section(
        "Formation of black holes",
        "Rows are grouped by bit identity at every recorded step, with the code that scans a checkpoint.\n"
        "Events are told between consecutive recorded steps.\n"
        "A hole is two or more tokens; live tokens are counted where they share a row.",
        ("Between recorded steps that are not consecutive, several events may look like one.",),
    ),
}
