"""Every error the toolkit raises on purpose.

Each message says where, what was expected and what was found; ``hint`` says what to do. The command line
turns ``exit_code`` into the process's exit status.
"""

from __future__ import annotations


class ForensicsError(Exception):
    """The base of every deliberate error; never raised itself.

    Attributes:
        message: one line saying where, what was expected and what was found.
        hint: one line saying what to do, or None.
        exit_code: the process exit status the command line gives it.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class FormatError(ForensicsError, ValueError):
    """A number format that is unknown, or that cannot do what was asked."""


class EmbeddingError(ForensicsError, ValueError):
    """A matrix that is not a matrix of token rows."""


class CheckpointError(ForensicsError, ValueError):
    """A checkpoint file that is damaged, lies about itself, or is of a kind that is not read."""


class UnsafeFileError(CheckpointError):
    """A file that would reach outside itself: code to execute, paths that climb, bombs."""


class TensorNotFoundError(ForensicsError, KeyError):
    """No tensor is, or several could be, the one that was asked for.

    Attributes:
        candidates: the names that could be meant.
    """

    def __init__(self, message: str, *, hint: str | None = None, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.candidates = candidates


class SourceError(ForensicsError, ValueError):
    """A SOURCE that cannot be understood or is not there."""


class SelectionError(ForensicsError, ValueError):
    """A set of tokens that does not exist, or that a matrix does not have."""


class ConfigError(ForensicsError, ValueError):
    """A run's setting that does not exist, has no such value, or contradicts another."""


class RecordingError(ForensicsError, ValueError):
    """A recording that is none, is damaged, or lacks what is asked of it."""


class TrainingError(ForensicsError, ArithmeticError):
    """A toy run whose loss is no longer a number."""


class OutputError(ForensicsError, OSError):
    """A report that could not be written."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # OSError's constructor would take a second argument as an errno; keep to one.
        ForensicsError.__init__(self, message, hint=hint)


class RemoteError(ForensicsError, ConnectionError):
    """The Hub is out of reach, refuses, or answers with something else than what was asked for."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # An OSError, too: see OutputError.
        ForensicsError.__init__(self, message, hint=hint)


class HypothesisError(ForensicsError, ValueError):
    """A hypothesis that does not exist, is no hypothesis, or cannot be simulated as asked."""


class ComparisonError(ForensicsError, ValueError):
    """Things that cannot be held against each other."""


class SchedulerError(ForensicsError, ConnectionError):
    """A scheduler of workers that is out of reach, or lost its workers."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # An OSError, too: see OutputError.
        ForensicsError.__init__(self, message, hint=hint)
