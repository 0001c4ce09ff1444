"""How a process is told which of how many it is: a command of jaxnets by its options, a script by variables.

The variables are those of Open MPI, which `jax.distributed.initialize()` reads by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxnets.errors import UsageError
from jaxnets.launch import program as programs

PORT = 8476  # where process 0 listens if nobody says otherwise
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Membership(NamedTuple):
    """What comes after the words of a program, and what its environment holds."""

    words: tuple[str, ...]
    variables: dict[str, str]


def of(
    program: Sequence[str], *, coordinator: str, count: int | str, index: int | str, local_index: int = 0
) -> Membership:
    """The membership of a process; a manifest gives `count` and `index` as what its system puts in their place.

    >>> of(["train", "c.py"], coordinator="a:1", count=2, index="$(JOB_COMPLETION_INDEX)").words
    ('--coordinator', 'a:1', '--processes', '2', '--index', '$(JOB_COMPLETION_INDEX)')
    """
    if not programs.is_script(program):
        return Membership(("--coordinator", coordinator, "--processes", str(count), "--index", str(index)), {})
    variables = {
        "JAX_COORDINATOR_ADDRESS": coordinator,
        "OMPI_MCA_orte_hnp_uri": f"0.0;tcp://{coordinator}",
        "OMPI_COMM_WORLD_SIZE": str(count),
        "OMPI_COMM_WORLD_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(local_index),  # jax prefers JAX_LOCAL_DEVICE_IDS, which stands beside it
    }
    return Membership((), variables)


def devices(count: int) -> dict[str, str]:
    """A process that has the first `count` devices of its machine.

    >>> devices(4)
    {'JAX_LOCAL_DEVICE_IDS': '0,1,2,3'}
    """
    return {"JAX_LOCAL_DEVICE_IDS": ",".join(map(str, range(count)))}


def variables(given: Iterable[str]) -> dict[str, str]:
    """What a user sets with `--env NAME=VALUE`.

    >>> variables(["JAXNETS_DATA=gs://bucket/data"])
    {'JAXNETS_DATA': 'gs://bucket/data'}

    Raises UsageError if it is not of that form.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(
                f"--env {text!r} is not NAME=VALUE; give something like --env JAXNETS_DATA=gs://bucket/data"
            )
        found[name] = value
    return found
