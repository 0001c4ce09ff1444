"""Commands of others that a launch calls (kubectl, sky): a list of words each, and never a shell."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from jaxnets.errors import JaxnetsError, UsageError


def read(words: Sequence[str], *, stdin: str | None = None, missing: str | None = None) -> str | None:
    """What a command prints; None if it fails and says `missing`. Raises JaxnetsError with what it says instead."""
    require(words[0])
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip() or done.stdout.strip() or "nothing"
    if missing is not None and missing in said:
        return None
    raise JaxnetsError(f"{' '.join(words[:3])} ended with exit code {done.returncode} and says: {said}")


def show(words: Sequence[str]) -> int:
    """Runs a command whose output goes straight to the user; its exit code."""
    require(words[0])
    return subprocess.run(words, check=False).returncode


def require(name: str) -> None:
    """Raises UsageError if a command is not there."""
    if shutil.which(name) is None:
        raise UsageError(f"{name} is not on PATH; install it, or see with --dry-run what it would be given")
