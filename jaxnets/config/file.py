"""A config file: Python that is run and ends in an experiment."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from jaxnets.config.experiment import Experiment
from jaxnets.errors import ConfigError, near


def load(path: str | Path) -> Experiment:
    """The `experiment` of a config file, which is Python and is run.

    Raises ConfigError if the file is missing, fails, or has no `experiment = Experiment(...)`.
    """
    names = definitions(path)
    experiment = names.get("experiment")
    if not isinstance(experiment, Experiment):
        raise ConfigError(
            f"config {path} holds experiment = {type(experiment).__name__}; it must end in experiment = Experiment(...)"
        )
    return experiment


def definitions(path: str | Path) -> dict[str, Any]:
    """All that a config file defines: it is Python and is run. Raises ConfigError if it is missing or fails."""
    path = Path(path)
    if not path.is_file():
        hint = near(str(path), [str(other) for other in path.parent.glob("*.py")])
        raise ConfigError(f"config {str(path)!r} is not a file{hint}; give a Python file that ends in an Experiment")
    try:
        return runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ConfigError(f"config {path} fails with {type(error).__name__}: {error}; it must run as Python") from error
