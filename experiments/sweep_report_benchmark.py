"""How long does a browser take to open the page of a sweep?

    python experiments/sweep_report_benchmark.py --trials 200 10000 --repeats 5

Sweeps that were never run (tests/sweeps.py: six dimensions, curves of 30 points) are written, their pages made (seconds
of one core), and each is opened by a headless Chromium without a GPU, started anew with an empty profile. *Drawn* is
from the request of the page until the charts in a window of 1,280 × 900 are drawn, as the page measures itself; *all
drawn* is the same in a window that holds the whole page, read back from every canvas; *process* is the browser from its
start to its end.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import sweeps  # noqa: E402

from jaxnets.report import sweep  # noqa: E402

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# A canvas is drawn when it is asked for what is on it, so that this waits for the last of them.
READ = (
    "<script>addEventListener('load',()=>{for(const c of document.querySelectorAll('canvas'))if(c.width>300)"
    "c.getContext('2d').getImageData(0,0,1,1);document.documentElement.dataset.read=Math.round(performance.now())})"
    "</script></body>"
)


def opened(browser: str, page: Path, *, high: int) -> tuple[dict[str, float], float]:
    """({what: milliseconds, as the page says}, seconds of the browser from start to end)."""
    with tempfile.TemporaryDirectory() as profile:
        words = [
            browser,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size=1280,{high}",
            "--dump-dom",
            page.as_uri(),
        ]
        begun = time.perf_counter()
        ended = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        seconds = time.perf_counter() - begun
    root = ended.stdout[: ended.stdout.index("<head")]
    return {name: float(value) for name, value in re.findall(r'data-(drawn|read)="(\d+)"', root)}, seconds


def median(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure(browser: str, folder: Path, trials: int, repeats: int) -> str:
    sweeps.write(folder, sweeps.written(trials))
    begun = time.process_time()
    sweep.write(str(folder))
    making = time.process_time() - begun
    page = folder / "sweep.html"
    size = page.stat().st_size / 1e6
    first = [opened(browser, page, high=900) for _ in range(repeats)]
    page.write_text(page.read_text().replace("</body>", READ))
    whole = [opened(browser, page, high=9000) for _ in range(repeats)]
    cells = [[found["drawn"] / 1000 for found, _ in first], [found["read"] / 1000 for found, _ in whole]]
    cells.append([seconds for _, seconds in first])
    return f"| {trials:,} | {size:.1f} MB | {making:.1f} s | {' | '.join(median(one) for one in cells)} |"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--trials", type=int, nargs="+", default=[200, 10_000])
    arguments.add_argument("--repeats", type=int, default=5)
    given = arguments.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        arguments.error("no Chromium is installed")
    print("| trials | page | making it | drawn, s | all drawn, s | process, s |\n|---|---|---|---|---|---|")
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(browser, Path(folder), trials, given.repeats), flush=True)


if __name__ == "__main__":
    main()
