"""The headers of our requests: a token and a name, and nothing asked for to make them.

huggingface_hub's own ``build_hf_headers`` asks the Hub for a list of programs, to name the one that runs it.
"""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version

from forensics.errors import RemoteError
from forensics.hub.explain import explain


def request_headers(token: str | bool | None, place: str) -> dict[str, str]:
    """Authorization, where there is a token, and user agent.

    Args:
        token: as everywhere in huggingface_hub; None takes HF_TOKEN or the stored login, unless its environment
            variable HF_HUB_DISABLE_IMPLICIT_TOKEN forbids it.
        place: the Hub; begins the message where a login is asked for and there is none.

    Raises:
        RemoteError: there is no such login, or the token cannot be sent.
    """
    from huggingface_hub import __version__, constants, get_token
    from huggingface_hub.errors import LocalTokenNotFoundError

    if token is None:
        token = not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN and get_token()
    elif token is True:
        token = get_token()
        if token is None:
            raise explain(LocalTokenNotFoundError(), place)
    headers = {"user-agent": f"forensics/{_own_version()}; hf_hub/{__version__}; python/{platform.python_version()}"}
    if not token:
        return headers
    if not re.fullmatch(r"[!-~]+( [!-~]+)*", str(token)):
        raise RemoteError("the token holds a character that no token has", hint="set HF_TOKEN anew")
    return headers | {"authorization": f"Bearer {token}"}


def _own_version() -> str:
    try:
        return version("embedding-forensics")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"
