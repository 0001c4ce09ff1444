"""What is done on each worker of a TPU VM: copied there as one file, which needs Python 3.8 and nothing else.

    python3 FILE install COMMIT PACKAGE …     the code that was copied beside it, and an environment for it
    python3 FILE run ID WORD …                begins a program, unless it was begun already, and follows it to its end
    python3 FILE known|logs|status ID         whether it was begun; what it has said; how it stands
    python3 FILE stop ID SECONDS              asks it to end, and waits for it as long as that

A program goes on when the connection that began it is gone. Each line comes out with the worker's number before it,
and the last one says how the program ended, so that this is known whatever becomes of the connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ARCHIVE = "jaxnets_code.tar.gz"
LAST_LINE = "jaxnets-launch: {id} ended with exit code {code}"
_HOME = Path.home()
_CODE, _ENVIRONMENT, _PROGRAMS = _HOME / "jaxnets-code", _HOME / "jaxnets-environment", _HOME / "jaxnets-programs"
_INSTALLED = _HOME / "jaxnets-installed.json"
_PYTHON = "3.12"  # the images have 3.10
_SHOWN = 20  # lines of before, for who comes later
_LOST = 137  # the code of a program whose keeper was killed


@functools.lru_cache(None)
def number() -> str:
    """Which worker this is: hosts are named …-w-NUMBER."""
    name = subprocess.run(["hostname"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.search(r"-w-(\d+)$", name)
    return found[1] if found else name or "?"


def emit(line: str) -> None:
    """One line as one write: all workers share the launcher's pipe."""
    os.write(1, f"[{number()}] {line}\n".encode())


def install(commit: str, *packages: str) -> int:
    wanted = json.dumps([commit, *packages])
    if _INSTALLED.exists() and _INSTALLED.read_text() == wanted:
        return 0
    _INSTALLED.unlink(missing_ok=True)
    _unpack()
    python = str(_ENVIRONMENT / "bin" / "python")
    uv = [sys.executable, "-m", "uv"]
    for words in (
        [sys.executable, "-m", "pip", "install", "--user", "--quiet", "uv"],
        [*uv, "venv", "--quiet", "--allow-existing", "--python", _PYTHON, str(_ENVIRONMENT)],
        [*uv, "pip", "install", "--quiet", "--python", python, "--editable", str(_CODE), *packages],
    ):
        environment = {**os.environ, "PIP_BREAK_SYSTEM_PACKAGES": "1"}  # for uv alone, which is the user's own
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            for line in (done.stdout + done.stderr).splitlines()[-_SHOWN:]:
                emit(line)
            emit(f"{' '.join(words)} ended with exit code {done.returncode}")
            return 1
    _INSTALLED.write_text(wanted)
    return 0


def _unpack() -> None:
    """The files of the archive in the place of those of the one before; what runs have left there stays."""
    listed = _HOME / "jaxnets-code.txt"
    for name in listed.read_text().splitlines() if listed.exists() else ():
        with contextlib.suppress(OSError):
            (_CODE / name).unlink()
    _CODE.mkdir(exist_ok=True)
    names = subprocess.run(["tar", "-tzf", str(_HOME / ARCHIVE)], capture_output=True, text=True, check=True).stdout
    listed.write_text(names)
    subprocess.run(["tar", "-xzf", str(_HOME / ARCHIVE), "-C", str(_CODE)], check=True)


def run(id: str, *words: str) -> int:
    begun = _begin(id, words)
    return _follow(id, last=None if begun else _SHOWN)


def _begin(id: str, words: tuple[str, ...]) -> bool:
    """Whether it was begun now: a program is begun once. Its keeper holds a lock for as long as it lives."""
    begun, folder = _PROGRAMS / f"{id}.{os.getpid()}", _PROGRAMS / id
    begun.mkdir(parents=True)
    (begun / "log").touch()
    with open(begun / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            begun.rename(folder)
        except OSError:  # somebody has begun it
            shutil.rmtree(begun)
            return False
        subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "keep", id, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )
    return True


def keep(id: str, *words: str) -> int:
    """The keeper of a program: waits for it, and leaves its exit code."""
    folder = _PROGRAMS / id
    path = f"{_ENVIRONMENT / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    with open(folder / "log", "ab") as log:
        try:
            program = subprocess.Popen(
                words,
                cwd=_CODE,
                env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _write(folder / "process", program.pid)
            code = program.wait()
        except OSError as error:
            log.write(f"{error}\n".encode())
            code = 127
    _write(folder / "code", 128 - code if code < 0 else code)
    return 0


def _write(path: Path, value: int) -> None:
    path.with_suffix(".part").write_text(str(value))
    path.with_suffix(".part").rename(path)


def _ended(id: str) -> int | None:
    """The exit code, None while it runs."""
    folder = _PROGRAMS / id
    with open(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
    return int((folder / "code").read_text()) if (folder / "code").exists() else _LOST


def _follow(id: str, *, last: int | None) -> int:
    """Prints what it says until it ends; of what it has said already the `last` lines, or all."""
    with open(_PROGRAMS / id / "log", "rb") as log:
        if last is not None:
            before = log.read()
            log.seek(len(before) - len(b"".join(before.splitlines(keepends=True)[-last:])))
        part = b""
        while True:
            code = _ended(id)  # before the last look, so that nothing is missed
            *lines, part = (part + log.read()).split(b"\n")
            for line in lines:
                emit(line.decode(errors="replace"))
            if code is not None:
                break
            time.sleep(0.2)
    if part:
        emit(part.decode(errors="replace"))
    emit(LAST_LINE.format(id=id, code=code))
    return code


def known(id: str) -> int:
    return 0 if (_PROGRAMS / id).is_dir() else 1


def logs(id: str) -> int:
    if known(id):
        emit("the program has not been begun here")
        return 1
    _follow(id, last=None)
    return 0


def status(id: str) -> int:
    if known(id):
        emit("not begun")
    else:
        code = _ended(id)
        emit("running" if code is None else f"ended with exit code {code}")
    return 0


def stop(id: str, seconds: str) -> int:
    until = time.monotonic() + float(seconds)
    if known(id):
        return 0
    with contextlib.suppress(OSError, ValueError):
        os.killpg(int((_PROGRAMS / id / "process").read_text()), signal.SIGTERM)
    while _ended(id) is None and time.monotonic() < until:
        time.sleep(0.1)
    return status(id)


if __name__ == "__main__":
    known_as = {act.__name__: act for act in (install, run, keep, known, logs, status, stop)}
    try:
        sys.exit(known_as[sys.argv[1]](*sys.argv[2:]))
    except BrokenPipeError:
        sys.exit(1)
