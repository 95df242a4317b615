"""What huggingface_hub does for us: names to commits, lists of files, small files into its own cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forensics.errors import RemoteError, SourceError
from forensics.hub.calls import again
from forensics.hub.retry import Patience

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

T = TypeVar("T")

METADATA_ATTEMPTS = 4
"""For a name or a small file: nothing is lost yet, and who typed it waits at the prompt."""

LISTING_BYTES = 1 << 20
"""A listing has some 300 bytes a file."""


class Watch:
    """Is told how a fetch goes; this one looks away."""

    def begin(self, name: str, n_bytes: int, held: int, of_bytes: int) -> None:
        """A tensor is about to be fetched, of which ``held`` bytes are here; the model's weights have ``of_bytes``."""

    def advance(self, n_bytes: int) -> None:
        """More bytes are here; called from several threads, one at a time."""

    def end(self) -> None:
        """The fetch is over, well or not."""

    def say(self, text: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True, slots=True)
class HubOptions:
    """How the Hub is read; None leaves a setting to huggingface_hub and its environment variables.

    Attributes:
        offline: use what is in the caches and ask for nothing.
        max_workers: ranges in flight.
        cache: folder of fetched tensors; None takes ``FORENSICS_CACHE`` or the user's cache folder.
        hub_cache: huggingface_hub's folder of files (``HF_HUB_CACHE``, ``HF_HOME``).
        endpoint: address of the Hub (``HF_ENDPOINT``).
        token: a token, or False for none (``HF_TOKEN``, the stored login).
        watch: is told how a fetch goes.
        patience: time-outs and retries.
    """

    offline: bool = False
    max_workers: int = 4
    cache: Path | None = None
    hub_cache: Path | None = None
    endpoint: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    watch: Watch = field(default_factory=Watch)
    patience: Patience = field(default_factory=Patience)


class HubClient:
    """One repository's side of huggingface_hub."""

    def __init__(self, options: HubOptions) -> None:
        from huggingface_hub import constants

        self.options = options
        self.offline = options.offline or constants.is_offline_mode()
        self.endpoint = (options.endpoint or constants.ENDPOINT).rstrip("/")
        self.hub_cache = options.hub_cache or Path(constants.HF_HUB_CACHE)
        self._patience = replace(options.patience, attempts=min(METADATA_ATTEMPTS, options.patience.attempts))

    def model_info(self, repo: str, revision: str | None) -> ModelInfo:
        """The commit of a revision and the files at it, with sizes and digests.

        Raises:
            RemoteError: no such model or revision, no access, or the Hub is out of reach.
        """
        from huggingface_hub import HfApi, errors

        api = HfApi(endpoint=self.endpoint, token=self.options.token)
        wait = self._patience.answer_s

        def ask() -> ModelInfo:
            try:
                return api.model_info(repo, revision=revision, files_metadata=True, timeout=wait)
            except errors.HFValidationError:  # a ValueError, too
                raise SourceError(f"{repo}: not a name that a model on the Hub can have") from None
            # What huggingface_hub's parser runs into where an answer is not as it expects.
            except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
                if isinstance(error, errors.HTTPError):
                    raise
                what = f"{repo}: the Hub's answer is not a listing ({type(error).__name__})"
                raise RemoteError(what, hint="is HF_ENDPOINT a Hub? a proxy may be in the way") from None

        return self._again(repo, revision, LISTING_BYTES, ask)

    def small_file(self, repo: str, commit: str, name: str, most: int, *, anew: bool = False) -> Path | None:
        """A file in huggingface_hub's cache, downloaded if it is not there; None where it is not, and offline.

        Args:
            repo: ``org/name``.
            commit: its hash.
            name: the file's path in the repository.
            most: bytes that it can have.
            anew: download it again, over what is there.

        Raises:
            RemoteError: it cannot be downloaded, or has more bytes.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import tqdm

        class Silent(tqdm):  # a bar for a config would only get in the way of the embedding's
            came = 0

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

            def update(self, n: float | None = 1) -> None:  # told of every piece before it is written
                self.came += int(n or 0)
                if self.came > most:
                    what = f"{name}: more bytes come than the {most:,} that the Hub lists"
                    raise RemoteError(what, hint="run again later")

        held = self.held_file(repo, commit, name)
        if self.offline or (held is not None and not anew):
            return held

        def download() -> str:
            return hf_hub_download(
                repo,
                name,
                revision=commit,
                cache_dir=self.hub_cache,
                endpoint=self.endpoint,
                token=self.options.token,
                force_download=anew,
                etag_timeout=self._patience.answer_s,
                tqdm_class=Silent,
            )

        return Path(self._again(f"{repo}: {name}", None, most, download))

    def held_file(self, repo: str, commit: str, name: str) -> Path | None:
        """A file that is in huggingface_hub's cache already, or None."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(repo, name, cache_dir=self.hub_cache, revision=commit)
        return Path(found).absolute() if isinstance(found, str) else None

    def snapshot(self, repo: str, commit: str) -> Path:
        """The folder of a commit's files in huggingface_hub's cache; need not exist."""
        return self.hub_cache / "--".join(("models", *repo.split("/"))) / "snapshots" / commit

    def held_commit(self, repo: str, revision: str) -> str | None:
        """The commit that a revision had when huggingface_hub last looked, or None."""
        try:
            return (self.hub_cache / "--".join(("models", *repo.split("/"))) / "refs" / revision).read_text().strip()
        except (OSError, ValueError):
            return None

    def _again(self, name: str, revision: str | None, n_bytes: int, call: Callable[[], T]) -> T:
        return again(call, name, revision, n_bytes=n_bytes, patience=self._patience, endpoint=self.endpoint)
