"""Which trials end before their time: a rule looks at a figure where trials can be compared, and says who goes on.

A rule knows nothing of devices: it is told values and answers. The step of a comparison is a *rung*. `asha` and
`median` compare with the trials of other workers as well, which `share` gives them. What a pool asks:

    rungs     steps, rising, after which trials are compared
    decide    {number of a trial: its value} of all that stand at a rung now -> the numbers of those that end here
    remember  the values of a trial that another process, or an earlier start, has seen at its rungs
    refills   whether a place that falls free goes to a new trial before all others have ended
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

# (rung, {number of a trial: its value}), told before they are judged -> the values there of trials of other workers
Share = Callable[[int, dict[int, float]], dict[int, float]]

STOPPINGS = ("none", "asha", "halving", "median", "pbt")
_FIRST = 5  # trials that the median rule wants to have seen at a step


def rungs(total: int, *, eta: int, least: int) -> tuple[int, ...]:
    """The rungs of a trial of `total` steps: each `eta` times the one before it, the first of at least `least`.

    >>> rungs(300, eta=3, least=10)
    (11, 33, 100)
    >>> rungs(5, eta=3, least=10)
    ()
    """
    found = []
    step = total // eta
    while step >= max(least, 1):
        found.append(step)
        step //= eta
    return tuple(reversed(found))


def _nobody(rung: int, values: dict[int, float]) -> dict[int, float]:
    return {}


class _Remembering:
    """What all trials had at each rung, less being better; places that fall free go to new ones."""

    refills = True

    def __init__(self, rungs: Sequence[int], *, larger_is_better: bool, share: Share = _nobody) -> None:
        self.rungs, self._sign, self._share = tuple(rungs), -1.0 if larger_is_better else 1.0, share
        self._seen: dict[int, dict[int, float]] = defaultdict(dict)

    def _entered(self, rung: int, values: dict[int, float]) -> dict[int, float]:
        """All of a rung: these values, of each trial the last, and what other workers have seen there."""
        found = self._share(rung, values) | values
        self._seen[rung].update({number: self._sign * value for number, value in found.items()})
        return self._seen[rung]

    def remember(self, number: int, values: dict[int, float]) -> None:
        for rung, value in values.items():
            self._seen[rung][number] = self._sign * value


class SuccessiveHalving(_Remembering):
    """ASHA: at each rung the best `1 / eta` of all that have come there go on; nobody waits for those that have not.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020. With many lanes at a rung at
    once, all of them are entered before any is judged.

    >>> rule = SuccessiveHalving((10,), eta=2, larger_is_better=True)
    >>> sorted(rule.decide(10, {0: 0.5, 1: 0.9, 2: 0.8, 3: 0.1}))
    [0, 3]
    """

    def __init__(self, rungs: Sequence[int], *, eta: int, larger_is_better: bool, share: Share = _nobody) -> None:
        super().__init__(rungs, larger_is_better=larger_is_better, share=share)
        self.eta = eta

    def decide(self, rung: int, values: dict[int, float]) -> set[int]:
        seen = self._entered(rung, values)
        best = sorted(seen.items(), key=_placed)[: max(1, len(seen) // self.eta)]
        return set(values) - {number for number, _ in best}


class Halving:
    """Of those that began together the best `1 / eta` go on at each rung, and nobody comes in their place meanwhile.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification", 2016.

    >>> rule = Halving((10,), eta=2, larger_is_better=False)
    >>> sorted(rule.decide(10, {0: 0.5, 1: 0.9, 2: 0.8, 3: 0.1})), rule.decide(10, {4: 7.0})
    ([1, 2], set())
    """

    refills = False

    def __init__(self, rungs: Sequence[int], *, eta: int, larger_is_better: bool) -> None:
        self.rungs, self.eta, self._sign = tuple(rungs), eta, -1.0 if larger_is_better else 1.0

    def decide(self, rung: int, values: dict[int, float]) -> set[int]:
        placed = sorted(((number, self._sign * value) for number, value in values.items()), key=_placed)
        return {number for number, _ in placed[max(1, len(placed) // self.eta) :]}

    def remember(self, number: int, values: dict[int, float]) -> None: ...


class Median(_Remembering):
    """A trial ends where its value is worse than the median of what others had at the same step.

    Source: Golovin et al., "Google Vizier", 2017, §3.2.2, with the value itself in place of its running mean.

    >>> rule = Median((10,), larger_is_better=False)
    >>> sorted(rule.decide(10, {n: float(n) for n in range(6)}))
    [3, 4, 5]
    """

    def decide(self, rung: int, values: dict[int, float]) -> set[int]:
        seen = self._entered(rung, values)
        if len(seen) < _FIRST:
            return set()
        middle = statistics.median(seen.values())
        return {number for number in values if not seen[number] <= middle}


class Population:
    """Population based training: nobody ends; at each rung the worst quarter goes on from the weights of the best.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017, truncation selection.

    >>> Population((10,), larger_is_better=True).parents(10, {n: float(n) for n in range(8)})
    {0: 6, 1: 7}
    """

    refills = False
    share = 4  # one of this many is replaced, and as many are taken from

    def __init__(self, rungs: Sequence[int], *, larger_is_better: bool) -> None:
        self.rungs, self._sign = tuple(rungs), -1.0 if larger_is_better else 1.0

    def parents(self, rung: int, values: dict[int, float]) -> dict[int, int]:
        """{number of a trial that is replaced: the trial that it goes on from}, drawn from the rung and the values."""
        placed = [n for n, _ in sorted(((n, self._sign * v) for n, v in values.items()), key=_placed)]
        count = len(placed) // self.share
        draw = random.Random(f"{rung} {placed}")
        return {loser: draw.choice(placed[:count]) for loser in sorted(placed[len(placed) - count :])} if count else {}

    def decide(self, rung: int, values: dict[int, float]) -> set[int]:
        return set()

    def remember(self, number: int, values: dict[int, float]) -> None: ...


class Never:
    """Every trial trains to its end."""

    refills = True
    rungs: tuple[int, ...] = ()

    def decide(self, rung: int, values: dict[int, float]) -> set[int]:
        return set()

    def remember(self, number: int, values: dict[int, float]) -> None: ...


Rule = Never | SuccessiveHalving | Halving | Median | Population


def rule(stopping: str, *, total: int, eta: int, least: int, larger_is_better: bool, share: Share = _nobody) -> Rule:
    """The rule of this name for trials of `total` steps.

    total: steps of a whole trial
    least: steps before nobody is judged
    share: told of the values at a rung, gives those of other workers' trials there; called by asha and median alone
    """
    match stopping:
        case "halving":
            return Halving(rungs(total, eta=eta, least=least), eta=eta, larger_is_better=larger_is_better)
        case "asha":
            found = rungs(total, eta=eta, least=least)
            return SuccessiveHalving(found, eta=eta, larger_is_better=larger_is_better, share=share)
        case "median":
            return Median(_tenths(total, least), larger_is_better=larger_is_better, share=share)
        case "pbt":
            return Population(_tenths(total, least), larger_is_better=larger_is_better)
    return Never()


def _tenths(total: int, least: int) -> tuple[int, ...]:
    steps: Iterable[int] = (total * tenth // 10 for tenth in range(1, 10))
    return tuple(sorted({step for step in steps if step >= max(least, 1)}))


def _placed(entry: tuple[int, float]) -> tuple[bool, float, int]:
    """Best first; what is no number comes last, and of equals the older."""
    number, value = entry
    return (value != value, value, number)
