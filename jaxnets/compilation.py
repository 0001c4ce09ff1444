"""Compiled programs: kept between processes in a verified cache, and told of when one is made while training.

JAX's own persistent cache writes entries in place and checks little on reading, but a program is what everything else
depends on. So an entry counts only once its hash stands beside it; what a kill or a bad disk left is thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from jax import monitoring
from jax.experimental.compilation_cache import compilation_cache

from jaxnets.data import cache as data_cache
from jaxnets.files import hash_file, write_atomically

_MOST_BYTES = 2**29  # of all entries; the oldest go first
_COMPILED = "/jax/core/compile/backend_compile_duration"


def cache_dir() -> Path:
    """Where compiled programs lie: a folder beside prepared data, one inside it for each machine and version."""
    return data_cache.cache_dir() / "compiled"


def _folder() -> Path:
    """One for each machine and version: a program made for another processor may not run on this one."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        features = sorted({line for line in text.splitlines() if line.startswith(("flags", "Features", "model name"))})
    except OSError:
        features = [platform.processor()]
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("NPROC", threads)  # by which XLA divides what it compiles for a CPU
    words = [jax.__version__, platform.machine(), str(threads), *features]
    return cache_dir() / hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


@contextlib.contextmanager
def cache(folder: Path | None = None) -> Iterator[None]:
    """While this is open, compiled programs are taken from `folder` and left there; a folder set elsewhere is kept."""
    if jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        yield
        return
    folder = folder or _folder()
    try:
        for private in (folder.parent, folder):
            private.mkdir(parents=True, exist_ok=True, mode=0o700)
        _scrub(folder)
    except OSError:  # a full or read-only disk: programs are compiled anew, nothing else is lost
        yield
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    compilation_cache.reset_cache()  # JAX looks at the folder once, at the first compilation
    old = jax.config.jax_persistent_cache_min_compile_time_secs  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        yield
    finally:
        seal()
        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", old)


def seal() -> None:
    """Writes the hash beside each new entry; called once everything is compiled."""
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    with contextlib.suppress(OSError):
        for entry in Path(folder or "/nowhere").glob("*-cache"):
            if not (beside := entry.with_suffix(".sha256")).exists():
                write_atomically(beside, hash_file(entry).encode())


def _scrub(folder: Path) -> None:
    """Removes entries that are not what was sealed, then the oldest until the rest fits."""
    left = _MOST_BYTES
    for entry in sorted(folder.glob("*-cache"), key=lambda path: -path.stat().st_mtime):
        beside = entry.with_suffix(".sha256")
        left -= entry.stat().st_size
        if left < 0 or not beside.exists() or beside.read_text() != hash_file(entry):
            entry.unlink(missing_ok=True)
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def told(say: Callable[[str], None]) -> Iterator[None]:
    """While this is open, every compilation of this thread is told: all that a loop needs was compiled before it began.

    (With several processes orbax cuts what it writes by small programs of its own, on the thread that writes.)
    """
    own = threading.get_ident()

    def hear(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == _COMPILED and threading.get_ident() == own:
            say(
                f"warning: {kwargs.get('fun_name', 'a program')} was compiled while training ({duration_secs:.1f} s); "
                "a step that compiles twice has inputs of changing shapes or types"
            )

    monitoring.register_event_duration_secs_listener(hear)
    try:
        yield
    finally:
        monitoring.unregister_event_duration_listener(hear)
