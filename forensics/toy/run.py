"""A run on the disk: trained, recorded, and resumed where it was.

The order that makes a kill harmless: the recording is flushed before a checkpoint is written, so frames are complete to
every checkpoint's step; on resume later frames are dropped and made again, from the very same state, word for word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.errors import ConfigError, RecordingError, TrainingError
from forensics.recording import RecordingWriter, open_recording
from forensics.toy.config import RunConfig, differences
from forensics.toy.corpus import Corpus, build_corpus
from forensics.toy.cost import Cost, check_disk, estimate
from forensics.toy.device import choose_device, environment, prepare, same_environment
from forensics.toy.events import Events
from forensics.toy.figures import Figures
from forensics.toy.loop import Training, train
from forensics.toy.outcome import Outcome
from forensics.toy.recorders import Recorder, make_recorders
from forensics.toy.saves import load_last, save, whole_saves
from forensics.toy.step import Step

Watch = Callable[[Step, Events], None]


@dataclass(slots=True, eq=False)
class Run:
    """A run and its folder, at rest between two steps.

    Made by :func:`begin` or :func:`resume`; :func:`carry_on` trains it.

    Attributes:
        folder: the recording, and the checkpoints inside it.
        config: the settings.
        corpus: the training stream and its census.
        training: weights, optimizer, step.
        events: what was noticed so far.
        cost: what it takes, estimated before.
        losses: of the first and the last update; None before the first.
    """

    folder: Path
    config: RunConfig
    corpus: Corpus
    training: Training
    recorders: tuple[Recorder, ...]
    events: Events
    writer: RecordingWriter
    cost: Cost
    losses: tuple[float, float] | None = None

    @property
    def step(self) -> int:
        """Updates made."""
        return self.training.step

    @property
    def finished(self) -> bool:
        """All steps of the config are made."""
        return self.step >= self.config.steps

    @property
    def outcome(self) -> Outcome:
        """What it came to so far."""
        config, events = self.config, self.events.to_dict()
        stored, census = config.stored, self.corpus.to_dict()
        if config.loss.label_offset != 1:
            census["context_entropy"] = None  # it bounds the loss of the next token alone
        return Outcome(config.name, self.step, config.steps, stored, events, self.losses, census)

    def close(self) -> None:
        """Lets go of the folder."""
        self.writer.close()


def begin(config: RunConfig, folder: str | Path, *, device: str = "auto") -> Run:
    """Starts a run in a new folder; nothing is trained yet. Sets torch's number of threads to the run's.

    Raises:
        ConfigError: no dead tokens, too few tokens, an unknown device or record.
        OutputError: the folder holds a recording already, or the disk cannot hold this one.
    """
    where = choose_device(device)
    prepare(where, config.threads)
    corpus = build_corpus(config.corpus)
    corpus.require_dead()
    figures = Figures(corpus)
    recorders = make_recorders(config.record.channels, config=config, corpus=corpus, figures=figures)
    channels = [channel for recorder in recorders for channel in recorder.channels]
    cost = estimate(config, channels, vocab=corpus.vocab_size, dead=len(corpus.dead_ids))
    check_disk(folder, cost)
    training = Training.start(config, corpus, where)
    extra = {"corpus": corpus.to_dict(), "environment": environment(where), "stored": config.stored}
    writer = RecordingWriter.create(
        folder,
        config.to_dict(),
        channels,
        vocab_size=corpus.vocab_size,
        dead_ids=corpus.dead_ids,
        extra=extra,
        tokenizer_json=corpus.tokenizer_json,
    )
    run = Run(Path(folder), config, corpus, training, recorders, Events(figures), writer, cost)
    try:
        run.events.begin(training.weights, training.model)
        for recorder in recorders:
            writer.append(0, recorder.begin(training.weights, training.model))
        _save(run)
    except BaseException:
        writer.close()
        raise
    return run


def resume(
    folder: str | Path, *, device: str = "auto", config: RunConfig | None = None, steps: int | None = None
) -> Run:
    """Goes on with a run from its last checkpoint.

    Args:
        folder: the run's.
        device: as in :func:`begin`.
        config: settings that the run must have, where the caller named some.
        steps: train to this step instead; later than the config's only where no schedule depends on it.

    Raises:
        ConfigError: the run has other settings, another corpus, another device or another torch.
        RecordingError: no run, or none of its checkpoints is whole.
    """
    path = Path(folder)
    recording = open_recording(path)
    recorded = RunConfig.from_dict(recording.config)
    if config is not None:
        _refuse_changes(path, recorded, config, steps)
    step, state = load_last(path)
    if steps is not None and steps < step:
        raise ConfigError(f"{path.name}: {step:,} steps are made, more than the {steps:,} asked for")
    other = _until(recorded, steps) if steps is not None and steps != recorded.steps else None
    config = other or recorded
    corpus = build_corpus(config.corpus)
    if corpus.sha256 != state["corpus"]:
        raise ConfigError(f"{path.name}: the corpus is not the one that the run began with")
    where = choose_device(device)
    same_environment(path, state["environment"], environment(where))
    prepare(where, state["environment"]["threads"])
    figures = Figures(corpus)
    recorders = make_recorders(config.record.channels, config=config, corpus=corpus, figures=figures)
    cost = estimate(config, vocab=corpus.vocab_size, dead=len(corpus.dead_ids))
    training, events = Training.start(config, corpus, where), Events(figures)
    step, state, writer = _reopen(path, other)
    training.restore(step, state["updater"])
    events.restore(state["events"])
    losses = tuple(state["losses"]) if state["losses"] else None
    return Run(path, config, corpus, training, recorders, events, writer, cost, losses)


def carry_on(run: Run, *, watch: Watch | None = None, stopped: Callable[[], bool] = lambda: False) -> bool:
    """Trains to the last step, recording; every word depends on the run's settings alone, not on who watches.

    Args:
        run: as begun or resumed.
        watch: called after each step.
        stopped: asked after each step; a run that is stopped is saved there.

    Returns:
        Whether the last step is reached.

    Raises:
        TrainingError: a number is no longer finite. The steps before it are recorded.
        OutputError: the disk cannot take more. The run can be resumed.
    """
    wanted = run.config.record.cadence
    needs_p_mean = any(recorder.needs_p_mean for recorder in run.recorders)
    try:
        for step in train(run.training, want_p_mean=needs_p_mean):
            run.losses = (run.losses[0] if run.losses else step.loss, step.loss)
            run.events.observe(step)
            if wanted.takes(step.step):
                for recorder in run.recorders:
                    run.writer.append(step.step, recorder.observe(step))
            if watch is not None:
                watch(step, run.events)
            if stopped():
                break
            if step.step % run.config.checkpoint_every == 0:
                _save(run)
    except TrainingError:
        if not run.training.half_made:
            _save(run)  # nothing was updated: the run stands whole at the step before
        raise
    # After anything else that ends the loop early (a full disk, a second Ctrl-C) the step under way may be half made or
    # half recorded: the last save stands.
    _save(run)
    return run.finished


def _reopen(path: Path, config: RunConfig | None) -> tuple[int, dict[str, Any], RecordingWriter]:
    """The last checkpoint whose frames are whole, too, and the recording opened after it.

    Raises:
        RecordingError: there is none.
    """
    first: RecordingError | None = None
    for step, state in whole_saves(path):
        try:
            changed = None if config is None else config.to_dict()
            return step, state, RecordingWriter.reopen(path, step, config=changed)
        except RecordingError as error:
            first = first or error
    raise first or RecordingError(f"{path.name}: no checkpoint to go on from", hint="begin the run in another folder")


def _save(run: Run) -> None:
    run.writer.flush()
    state = {
        "updater": run.training.updater.state(),
        "events": run.events.state(),
        "losses": run.losses,
        "corpus": run.corpus.sha256,
        "environment": environment(run.training.updater.weights.device),
    }
    save(run.folder, run.step, state)


def _refuse_changes(path: Path, recorded: RunConfig, config: RunConfig, steps: int | None) -> None:
    other = {"name", "about", "follows", *(["steps"] if steps is not None else [])}  # prose decides no word
    changed = [difference for difference in differences(recorded, config) if difference[0] not in other]
    if changed:
        key, was, now = changed[0]
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise ConfigError(
            f"{path.name}: {key} was {was!r}, now it is {now!r}{more}",
            hint="a run goes on with its own settings; for others begin a new one",
        )


def _until(config: RunConfig, steps: int) -> RunConfig:
    if config.schedule.depends_on_steps:
        raise ConfigError(
            f"the learning rate follows the run's {config.steps} steps, so {steps} would be another run",
            hint="begin a new run, or set schedule.over",
        )
    table = config.to_dict()
    return RunConfig.from_dict({**table, "steps": steps})
