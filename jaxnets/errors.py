"""Everything jaxnets raises on purpose.

    JaxnetsError                 exit code 1
    ├── UsageError               exit code 2   the user's words: a command line, a config, an argument
    │   ├── ConfigError                        a config file or one of its values
    │   └── MissingExtra                       an optional dependency is not installed
    ├── DataError                exit code 3   a source: missing, damaged, out of range, changed
    ├── CheckpointError          exit code 4   a checkpoint or another file of a run: damaged, none good, disk full
    ├── NonFiniteError           exit code 5   training left the real numbers
    ├── ProcessLost              exit code 6   another process of the run was killed, froze or failed
    └── Interrupted              exit code 128 + signal: saved, then ended

Every message says what was given, what is allowed and what to do. The exit code stands on the class, so that
the command line needs no table.
"""

import difflib
from collections.abc import Iterable


class JaxnetsError(Exception):
    """The root: catch this to catch all that jaxnets raises on purpose."""

    exit_code = 1


class UsageError(JaxnetsError):
    """The user's words cannot be followed."""

    exit_code = 2


class ConfigError(UsageError):
    """A config file, or a value in it, is not allowed. The message names the dotted path."""


class MissingExtra(UsageError):
    """An optional dependency is missing.

    >>> str(MissingExtra("tensorflow", extra="tf", purpose="to prepare tfds:mnist"))
    'tensorflow is needed to prepare tfds:mnist and is not installed; run: pip install "jaxnets[tf]"'
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f'{package} is needed {purpose} and is not installed; run: pip install "jaxnets[{extra}]"')


class DataError(JaxnetsError):
    """A source cannot be used. The message names the file and the row."""

    exit_code = 3


class CheckpointError(JaxnetsError):
    """A checkpoint or another file of a run cannot be written or trusted. The message names the step and the file."""

    exit_code = 4


class NonFiniteError(JaxnetsError):
    """Training produced NaN or infinity. The message names steps, first bad leaf and example ids."""

    exit_code = 5


class ProcessLost(JaxnetsError):
    """Another process of the same run is gone. The message says which and why, as far as it is known."""

    exit_code = 6


class Interrupted(JaxnetsError):
    """A signal ended the run after its state was saved."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def near(word: str, allowed: Iterable[str]) -> str:
    """The end of a message about a word that is not known: what may have been meant, or nothing.

    >>> near("wines", ["wine", "digits"]), near("x", ["wine"])
    ('; perhaps you meant wine', '')
    """
    found = difflib.get_close_matches(word, list(allowed), n=3, cutoff=0.5)
    return f"; perhaps you meant {', '.join(found)}" if found else ""
