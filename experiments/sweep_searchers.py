"""Do TPE and CMA-ES find better settings than random ones, on a function whose minimum is known, and in batches?

    python experiments/sweep_searchers.py --repeats 20 --trials 120 --batch 8

Hartmann's function of six dimensions (Dixon and Szegő, 1978) has its minimum, -3.32237, in one of several valleys.
Printed is what is missing to it after each quarter of the trials, as the median over repeats, and in how many repeats
a searcher ends better than random settings, with the one-sided p value of Wilcoxon's signed-rank test.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from jaxnets.sweep.search import Objective, Study
from jaxnets.sweep.space import Uniform

MINIMUM = -3.32237
ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
WIDTHS = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
SPACE = {f"x{index}": Uniform(0.0, 1.0) for index in range(6)}


def hartmann(point: np.ndarray) -> float:
    """The value at a point of the unit cube of six dimensions.

    >>> round(hartmann(np.array([0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573])), 5)
    -3.32237
    """
    return float(-ALPHA @ np.exp(-np.sum(WIDTHS * (point - CENTRES) ** 2, axis=1)))


def regrets(searcher: str, *, seed: int, trials: int, batch: int) -> list[float]:
    """What is missing to the minimum after each trial."""
    objective = Objective("valid.loss", larger_is_better=False)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        study = Study.open(
            "hartmann",
            storage=Path(folder) / "study.journal",
            space=SPACE,
            objectives=[objective],
            searcher=searcher,
            seed=seed,
            fixed={},
        )
        study.want(trials)
        values: list[float] = []
        while asked := study.ask(batch):
            found = [hartmann(np.array([one.settings[path] for path in SPACE])) for one in asked]
            study.tell_all([(one.number, "complete", [value]) for one, value in zip(asked, found, strict=True)])
            values += found
    return list(np.minimum.accumulate(values) - MINIMUM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--searchers", nargs="+", default=["random", "quasi", "tpe", "cmaes", "nsga2"])
    given = parser.parse_args()
    ends = {}
    quarters = [given.trials * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    print(f"{given.trials} trials, asked for {given.batch} at a time, {given.repeats} repeats")
    for searcher in given.searchers:
        begin = time.process_time()
        curves = np.array(
            [regrets(searcher, seed=seed, trials=given.trials, batch=given.batch) for seed in range(given.repeats)]
        )
        spent = 1e3 * (time.process_time() - begin) / curves.size
        ends[searcher] = curves[:, -1]
        better = ends[searcher] < ends[given.searchers[0]]
        p = wilcoxon(ends[searcher], ends[given.searchers[0]], alternative="less").pvalue if better.any() else 1.0
        medians = " ".join(f"{value:.3f}" for value in np.median(curves[:, quarters], axis=0))
        print(
            f"{searcher:7} missing {medians}  better {better.sum()} of {len(better)} p {p:.1g}  {spent:.1f} ms a trial"
        )


if __name__ == "__main__":
    main()
