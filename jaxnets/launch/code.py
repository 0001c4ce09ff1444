"""The code that a launch takes to other machines: the files of one commit, never what merely lies in the folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

from jaxnets.errors import UsageError


def commit_of(folder: Path, wanted: str | None = None) -> str:
    """The full hash of `wanted`, or of HEAD, where nothing may differ from it. Raises UsageError."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise UsageError(f"{folder.resolve()} is no git repository, and a launch takes its code from a commit; "
                         "run it in the repository of your code")  # fmt: skip
    if wanted is not None and wanted.startswith("-"):
        raise UsageError(f"--commit {wanted} is no commit; give a hash, a branch or a tag")
    if wanted is None and (changed := _git(folder, "status", "--porcelain", "--untracked-files=no")):
        raise UsageError(
            f"{len(changed.splitlines())} files differ from the last commit, and a launch takes its code from a "
            "commit; commit them, or leave them out: --commit HEAD"
        )
    found = _git(folder, "rev-parse", "--verify", "--quiet", f"{wanted or 'HEAD'}^{{commit}}")
    if not found:
        raise UsageError(f"--commit {wanted or 'HEAD'} is no commit of {top}; give a hash, a branch or a tag")
    return found


def archive(folder: Path, commit: str, path: Path) -> None:
    """Writes the files of a commit as one .tar.gz."""
    top = _git(folder, "rev-parse", "--show-toplevel") or str(folder)
    subprocess.run(
        ["git", "-C", top, "archive", "--format=tar.gz", f"--output={path.resolve()}", commit],
        check=True, capture_output=True, text=True,
    )  # fmt: skip


def _git(folder: Path, *words: str) -> str | None:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
