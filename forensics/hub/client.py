"""What huggingface_hub does for us: names to commits, lists of files, addresses, and its own cache."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from forensics.errors import RemoteError, SourceError
from forensics.hub.calls import again
from forensics.hub.explain import host
from forensics.hub.headers import request_headers
from forensics.hub.retry import Patience

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

METADATA_ATTEMPTS = 4
"""For a name: nothing is lost yet, and who typed it waits at the prompt."""


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
        from huggingface_hub import ModelInfo, constants, errors, get_session
        from huggingface_hub.utils import hf_raise_for_status, validate_repo_id

        headers = request_headers(self.options.token, host(self.endpoint))
        url = f"{self.endpoint}/api/models/{repo}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
        wait = self._patience.answer_s

        def ask() -> ModelInfo:
            try:
                # As HfApi.model_info asks, but with our own headers: see headers.py.
                validate_repo_id(repo)
                if constants.HF_HUB_OFFLINE:
                    raise errors.OfflineModeIsEnabled
                answer = get_session().get(url, headers=headers, params={"blobs": True}, timeout=wait)
                hf_raise_for_status(answer)
                return ModelInfo(**answer.json())  # type: ignore[no-untyped-call]
            except errors.HFValidationError:  # a ValueError, too
                raise SourceError(f"{repo}: not a name that a model on the Hub can have") from None
            # What huggingface_hub's parser runs into where an answer is not as it expects.
            except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
                if isinstance(error, errors.HTTPError):
                    raise
                what = f"{repo}: the Hub's answer is not a listing ({type(error).__name__})"
                raise RemoteError(what, hint="is HF_ENDPOINT a Hub? a proxy may be in the way") from None

        return again(ask, repo, revision, patience=self._patience, endpoint=self.endpoint, say=self.options.watch.say)

    def url(self, repo: str, commit: str, name: str) -> str:
        """A file's address at a commit."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(repo, name, revision=commit, endpoint=self.endpoint)

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
