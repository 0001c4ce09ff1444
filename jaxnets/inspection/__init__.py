"""Look before you train: what makes training impossible, and what makes it pointless or its figures wrong.

`check` is always asked; `cheap` before every training, as `data.checks` says; `thorough` by `jaxnets data`.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxnets.data import Data, Dataset
from jaxnets.errors import DataError
from jaxnets.inspection import classes, columns, damage, drift, duplicates, giveaway, neighbours
from jaxnets.inspection.finding import SEVERITIES as SEVERITIES
from jaxnets.inspection.finding import Finding as Finding
from jaxnets.inspection.finding import worst_first
from jaxnets.inspection.profile import Profile as Profile
from jaxnets.inspection.profile import profiles as profiles
from jaxnets.inspection.soundness import check as check
from jaxnets.inspection.untargeted import untargeted as untargeted
from jaxnets.inspection.view import View as View
from jaxnets.inspection.view import view as view

Check = Callable[[View], list[Finding]]
_CHEAP: tuple[Check, ...] = (
    duplicates.leaked,
    duplicates.repeated,
    giveaway.given_away,
    classes.balance,
    classes.unlearnt,
    columns.useless,
    columns.strays,
    columns.holes,
)
_COSTLY: tuple[Check, ...] = (
    damage.damaged,
    neighbours.near_duplicates,
    neighbours.label_noise,
    columns.outliers,
    drift.drift,
)


def cheap(dataset: Dataset, config: Data) -> list[Finding]:
    """What can be found without delay, worst first."""
    seen = view(dataset, config)
    return worst_first(finding for ask in _CHEAP for finding in ask(seen))


def thorough(seen: View) -> list[Finding]:
    """All that can be found, worst first."""
    return worst_first(finding for ask in (*_CHEAP, *_COSTLY) for finding in ask(seen))


def admit(dataset: Dataset, config: Data, *, say: Callable[[str], None] | None = None) -> None:
    """The cheap checks before a training, as `config.checks` says: errors stop, all but notes are told.

    Raises DataError with every error, if they are not to be told alone.
    """
    if config.checks == "off":
        return
    found = cheap(dataset, config)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors and config.checks == "stop":
        raise DataError(
            f"{config.source} does not pass its checks:\n" + "\n".join(f"  {error.line()}" for error in errors) + "\n"
            "correct the data, or train all the same: --data.checks tell"
        )
    for finding in found:
        if say is not None and finding.severity != "note":
            say(finding.line())
