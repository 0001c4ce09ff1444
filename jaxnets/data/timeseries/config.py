"""The config of time series: what the columns of a table mean, and what happens where values are not there."""

from __future__ import annotations

from typing import Literal, NamedTuple

from jaxnets.types import experiment_dataclass


@experiment_dataclass
class Series:
    """Beside it: `data.target` names the columns that are forecast, `data.context` the steps that are seen."""

    time: str = "time"  # the column of dates, or of numbers that grow
    id: str | None = None  # the column that says which series a row belongs to; none = the table is one series
    horizon: int = 1  # steps that are forecast
    future: tuple[str, ...] = ()  # columns that are known ahead, as holidays or prices are
    season: int = 1  # steps after which a series repeats itself: what MASE compares with
    missing: Literal["stop", "carry"] = "stop"  # a value that is not given; carry = the last one is seen in its place
    gaps: Literal["stop", "fill", "ignore"] = "stop"  # steps without a row; fill = as missing values, ignore = none are
    valid_from: str | None = None  # time at which the validation part begins; none = by the share data.valid
    test_from: str | None = None  # time at which the test part begins; none = by the share data.test


class Fitting(NamedTuple):
    """What a schema holds of time series: how a table of them is read, and what was fitted to each on its train part.

    names:        of the series
    naive_errors: (S·c) mean absolute error of the value one season before, one series after the other; 0 where none is
    """

    time: str
    id: str | None
    horizon: int
    missing: Literal["stop", "carry"]
    gaps: Literal["stop", "fill", "ignore"]
    names: tuple[str, ...]
    naive_errors: tuple[float, ...]
