"""What can be launched: a command of jaxnets that trains, workers of a sweep, or a Python script."""

from __future__ import annotations

from collections.abc import Sequence

from jaxnets.errors import UsageError, near

_TRAIN = ("train",)  # the commands that a process of many can run
_SWEEP = "sweep"  # whose processes know each other by their storage alone


def is_script(program: Sequence[str]) -> bool:
    """Whether it is a script of the user's, which asks jax for its place; a command of jaxnets looks by itself."""
    return bool(program) and program[0].endswith(".py")


def is_sweep(program: Sequence[str]) -> bool:
    """Whether its processes are workers of a sweep: each for itself, as many as there are at any time."""
    return list(program[:1]) == [_SWEEP]


def words(program: Sequence[str], *, python: str, workers: bool = False) -> tuple[str, ...]:
    """The words that run a program.

    workers: whether processes that need not know each other can be launched there

    >>> words(["train", "c.py"], python="python3")
    ('python3', '-m', 'jaxnets.cli', 'train', 'c.py')

    Raises UsageError if it cannot be launched.
    """
    if not program:
        raise UsageError("there is nothing to launch; give a command after --, as in -- train configs/digits_mlp.py")
    if is_script(program):
        return (python, *program)
    if is_sweep(program) and not workers:
        raise UsageError(
            "sweep cannot be launched as several processes of one run: each would be told of the others, and workers "
            "of a sweep know each other by its storage; give jaxnets sweep … --workers N on a machine (again on each "
            "that shares the folder or a --storage), or jaxnets launch slurm --array 0-3 … -- sweep …"
        )
    if program[0] not in (*_TRAIN, *[_SWEEP] * workers):
        raise UsageError(
            f"{program[0]!r} cannot be launched; give train, or a Python script of your own{near(program[0], _TRAIN)}"
        )
    return (python, "-m", "jaxnets.cli", *program)
