"""What a run would need, and how fast it could be, on devices that are not there: compiled, not guessed."""

from jaxnets.forecast.search import largest as largest
from jaxnets.forecast.step import Forecast as Forecast
from jaxnets.forecast.step import forecast as forecast
from jaxnets.forecast.text import show as show
from jaxnets.forecast.text import to_json as to_json
