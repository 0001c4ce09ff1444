"""The experiment: one frozen tree of dataclasses, from a Python file, from JSON, from dotted paths; checked, compared.

Nothing is executed when JSON or a command line is read.
"""

from jaxnets.config.checks import check as check
from jaxnets.config.experiment import Custom as Custom
from jaxnets.config.experiment import Experiment as Experiment
from jaxnets.config.file import definitions as definitions
from jaxnets.config.file import load as load
from jaxnets.config.kinds import variant_name as variant_name
from jaxnets.config.paths import assign as assign
from jaxnets.config.stored import difference as difference
from jaxnets.config.stored import dump as dump
from jaxnets.config.stored import filled as filled
from jaxnets.config.stored import flatten as flatten
from jaxnets.config.stored import from_json as from_json
from jaxnets.config.stored import to_json as to_json
