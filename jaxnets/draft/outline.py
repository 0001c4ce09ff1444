"""What was concluded: an experiment, the words of its config file, and what the checks found on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxnets.config import Experiment
from jaxnets.inspection import Finding


class Outline(NamedTuple):
    """Title and lines of the docstring; reasons by dotted path."""

    experiment: Experiment
    title: str
    lines: Sequence[str]
    reasons: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
