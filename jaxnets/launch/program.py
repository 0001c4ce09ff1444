"""What can be launched: a command of jaxnets that trains, or a Python script."""

from __future__ import annotations

from collections.abc import Sequence

from jaxnets.errors import UsageError, near

_TRAIN = ("train",)  # the commands that a process of many can run


def is_script(program: Sequence[str]) -> bool:
    """Whether it is a script of the user's, which asks jax for its place; a command of jaxnets looks by itself."""
    return bool(program) and program[0].endswith(".py")


def words(program: Sequence[str], *, python: str) -> tuple[str, ...]:
    """The words that run a program.

    >>> words(["train", "c.py"], python="python3")
    ('python3', '-m', 'jaxnets.cli', 'train', 'c.py')

    Raises UsageError if it cannot be launched.
    """
    if not program:
        raise UsageError("there is nothing to launch; give a command after --, as in -- train configs/digits_mlp.py")
    if is_script(program):
        return (python, *program)
    if program[0] not in _TRAIN:
        raise UsageError(
            f"{program[0]!r} cannot be launched; give train, or a Python script of your own{near(program[0], _TRAIN)}"
        )
    return (python, "-m", "jaxnets.cli", *program)
