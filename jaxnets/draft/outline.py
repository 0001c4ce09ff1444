"""What was concluded: an experiment, the words of its config file, and what the checks found on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.inspection import Finding


class Outline(NamedTuple):
    """Title and lines of the docstring; reasons by dotted path."""

    experiment: Experiment
    title: str
    lines: Sequence[str]
    reasons: Mapping[str, str]
    findings: tuple[Finding, ...] = ()


def answered(data: Data, findings: Sequence[Finding]) -> tuple[Data, dict[str, str]]:
    """What the errors ask for: a column that is the target is left out; what else there is, is told and not refused."""
    reasons = {}
    told = [one.column for one in findings if one.check == "give-away" and one.severity == "error"]
    if told:
        types = (*data.columns.types, *(f"{name}:drop" for name in told))
        data = dataclasses.replace(data, columns=dataclasses.replace(data.columns, types=types))
        reasons["data.columns"] = f"{', '.join(told)} would give the target away"
    if any(one.severity == "error" and one.check != "give-away" for one in findings):
        data = dataclasses.replace(data, checks="tell")
        reasons["data.checks"] = "there are errors in the data, see above: correct them, then take this line out"
    return data, reasons
