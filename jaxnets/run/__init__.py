"""A run: an experiment and a folder become a trained, tested, reported result; started again, it continues."""

from jaxnets.run.continuing import check_folder as check_folder
from jaxnets.run.entry import run as run
from jaxnets.run.lock import locked as locked
from jaxnets.run.result import Result as Result
