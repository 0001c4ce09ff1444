"""What a user sets of a launch, refused in one way whatever the place."""

from __future__ import annotations

import re

from jaxnets.errors import UsageError


def check_least(option: str, value: int | float | None, *, least: int) -> None:
    """Raises UsageError if a number is given that is too small.

    >>> check_least("--nodes", 1, least=1), check_least("--retries", None, least=0)
    (None, None)
    """
    if value is not None and value < least:
        raise UsageError(f"{option} {value} is not allowed; give {least} or more")


def check_form(option: str, value: str | None, pattern: str, words: str) -> None:
    """Raises UsageError if a text is given that the whole of `pattern` does not fit; `words` say what may be given.

    >>> check_form("--mem", "64G", r"[0-9]+[KMGT]?", "something like 64G")
    """
    if value is not None and not re.fullmatch(pattern, value, re.ASCII):
        raise UsageError(f"{option} {value!r} is not allowed; give {words}")


def check_python(python: str, *, place: str) -> None:
    """Raises UsageError if it would be taken for an option; `place` is what has this Python, as in "nodes"."""
    if not python or python.startswith("-"):
        raise UsageError(f"--python {python!r} is no program; give the path of a Python on the {place}")
