"""What can be launched: train or sweep, of which each process is a part, or a Python script."""

from __future__ import annotations

from collections.abc import Sequence

from jaxnets.errors import UsageError, near

_SWEEP = "sweep"
_COMMANDS = ("train", _SWEEP)  # what a process of many can run
_TRIALS = "--trials"


def is_script(program: Sequence[str]) -> bool:
    """Whether it is a script of the user's, which asks jax for its place; a command of jaxnets looks by itself."""
    return bool(program) and program[0].endswith(".py")


def is_sweep(program: Sequence[str]) -> bool:
    """Whether its processes are workers of a sweep: each for itself, as many as there are at any time."""
    return list(program[:1]) == [_SWEEP]


def words(program: Sequence[str], *, python: str, joined: bool = True, repeats: bool = False) -> tuple[str, ...]:
    """The words that run a program.

    joined:  whether its processes are told of each other
    repeats: whether it may be started again without being asked for

    >>> words(["train", "c.py"], python="python3")
    ('python3', '-m', 'jaxnets.cli', 'train', 'c.py')

    Raises UsageError if it cannot be launched.
    """
    if not program:
        raise UsageError("there is nothing to launch; give a command after --, as in -- train configs/digits_mlp.py")
    if is_script(program):
        return (python, *program)
    if program[0] not in _COMMANDS:
        raise UsageError(
            f"{program[0]!r} cannot be launched; give train, sweep, or a Python script of your own"
            f"{near(program[0], _COMMANDS)}"
        )
    if is_sweep(program):
        _check_sweep(program, joined=joined, repeats=repeats)
    return (python, "-m", "jaxnets.cli", *program)


def option(program: Sequence[str], name: str) -> str | None:
    """The value that a program is given for an option, the last one; None if it is not given.

    >>> option(["sweep", "c.py", "--trials", "9", "--storage=x"], "--trials")
    '9'
    """
    pairs = zip(program, (*program[1:], ""), strict=True)
    found = [
        after if word == name else word.partition("=")[2] for word, after in pairs if word.partition("=")[0] == name
    ]
    return found[-1] if found else None


def _check_sweep(program: Sequence[str], *, joined: bool, repeats: bool) -> None:
    for name in ("--workers", "--on"):
        if joined and (value := option(program, name)) is not None:
            raise UsageError(
                f"{name} {value} cannot be launched: each process is a worker already, with all devices that it has; "
                "leave it out"
            )
    trials = option(program, _TRIALS)
    if repeats and trials is not None and trials.startswith("+"):
        raise UsageError(
            f"{_TRIALS} {trials} is not allowed here: as many would be added again whenever a process is started "
            "again; give the number of trials that there are to be in all"
        )
