"""The ``forensics`` command as a process of its own, with the Hub of a test and nothing of this machine's login."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MINE = ("HF_", "HUGGING", "FORENSICS_", "XDG_")


def environment(place, endpoint, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(MINE)}
    path = f"{ROOT}{os.pathsep}{ROOT / 'cli'}"
    given = {"PYTHONPATH": path, "HF_HOME": str(place / "home"), "FORENSICS_CACHE": str(place / "cache")}
    given |= {"HF_ENDPOINT": endpoint, "HOME": str(place)}
    return kept | given | more


@contextmanager
def started(place, endpoint, *arguments, chunk_bytes=None, before="", stderr=subprocess.PIPE, **more):
    """The running command; killed in the end."""
    code = f"from forensics.hub import partial; partial.CHUNK_BYTES = {chunk_bytes}\n" if chunk_bytes else ""
    code += f"{before}\nfrom forensics_cli.main import cli; cli()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment(place, endpoint, **more),
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(place, endpoint, *arguments, **more):
    """Exit code, stdout, stderr."""
    with started(place, endpoint, *arguments, **more) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def wait_for(condition, seconds=60):
    """Until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)
