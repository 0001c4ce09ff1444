"""Work in a child process, since what it calls may end its process without a word."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from jaxnets.errors import JaxnetsError


def apart(work: Callable[[], int], *, what: str, advice: str) -> int:
    """The exit code of `work`, done in a child of this process; JaxnetsError if a signal ends the child.

    For compilers that crash: libtpu 0.0.42 overflows its stack at some programs (experiments/LOG.md). Where jax has
    started its threads already, which no child inherits, the work is done here.
    """
    if "jax" in sys.modules or not hasattr(os, "fork"):
        return work()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        return work()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code >= 0:
        return code
    raise JaxnetsError(f"{what} was ended by {signal.Signals(-code).name}, a fault that is not yours; {advice}")
