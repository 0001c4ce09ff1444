"""Stand-ins on PATH for commands of others: they record every argument and stdin, and do what a few lines say."""

import json
import os
import stat
import sys

_HEAD = """#!{python} -S
import json, os, sys
from pathlib import Path
here = Path({folder!r})
argv, stdin = sys.argv[1:], "" if sys.stdin.isatty() else sys.stdin.read()
with open(here / "calls.jsonl", "a") as file:
    file.write(json.dumps({{"argv": argv, "stdin": stdin}}) + "\\n")
"""


def stand_in(folder, monkeypatch, name, body):
    """Puts a command on PATH; returns a function that gives its calls so far, as {argv, stdin}."""
    own, programs = folder / f"of_{name}", folder / "bin"
    own.mkdir()
    programs.mkdir(exist_ok=True)
    path = programs / name
    path.write_text(_HEAD.format(python=sys.executable, folder=str(own)) + body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def calls():
        file = own / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return calls


def refused(capfd, main, words):
    """The message of a command line that must be refused, with exit code 2."""
    code = main(words)
    errors = capfd.readouterr().err
    assert code == 2 and errors.startswith("jaxnets: "), (code, errors)
    return errors
