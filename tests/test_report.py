"""The report: self-contained, small, right in its figures, and without an error in a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats
from small import experiment, loop

from jaxnets import report
from jaxnets.data import Data
from jaxnets.models import GPT
from jaxnets.report import intervals, svg
from jaxnets.run import run
from jaxnets.tasks import LanguageModelling, Regression

RUNS = {
    "rows": experiment(),
    "images": experiment(data=Data(source="digits", batch_size=32)),
    "real": experiment(data=Data(source="diabetes", batch_size=32), task=Regression(), loop=loop(monitor="rmse")),
    "text": experiment(
        data=Data(source="text:{text}", batch_size=4, context=16),
        model=GPT(context=16, width=8, depth=1, heads=2),
        task=LanguageModelling(),
    ),
}


@pytest.fixture(scope="module", params=RUNS)
def page(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "t.txt").write_text("to be <b>or</b> not to be & that is the question\n" * 60)
    one = RUNS[request.param]
    if request.param == "text":
        import dataclasses

        one = dataclasses.replace(one, data=dataclasses.replace(one.data, source=f"text:{folder / 't.txt'}"))
    result = run(one, folder / "run")
    return request.param, result, (folder / "run" / "report.html")


class Checker(HTMLParser):
    """Counts what is open; whatever closes must have been opened last."""

    void = {"meta", "link", "img", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_one_file_well_formed_small_and_offline(page):
    _, _, path = page
    text = path.read_text()
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert all(link.startswith("data:") for link in checker.links) and "http" not in text.replace("http-equiv", "")
    assert path.stat().st_size < 1_500_000 and "<script" not in text


def test_each_kind_shows_what_belongs_to_it(page):
    kind, result, path = page
    text = path.read_text()
    shown = {
        "rows": ["confusion matrix", "Most wrong", "malic_acid", "class_1"],
        "images": ["confusion matrix", "data:image/png;base64,"],
        "real": ["residuals", "predicted and true", "bmi"],
        "text": ["Samples", "nats per token", "&lt;b&gt;or&lt;/b&gt;"],
    }[kind]
    for words in [
        *shown,
        "learning rate",
        "throughput",
        "norms",
        "Config",
        "Environment",
        "95 % interval",
        "fingerprint",
    ]:
        assert words in text, words
    for name, value in result.figures["test"].items():
        assert f"{value:.4f}" in text, name


def test_the_confusion_matrix_adds_up(page):
    kind, result, path = page
    if kind not in ("rows", "images"):
        pytest.skip("no classes")
    cells = re.findall(r"true (\S+), predicted (\S+): (\d+)", path.read_text())
    right = sum(int(count) for true, found, count in cells if true == found)
    total = sum(int(count) for *_, count in cells)
    assert total == result.figures["test_examples"]
    assert right / total == pytest.approx(result.figures["test"]["accuracy"])


def test_it_is_written_again_from_the_folder_alone(page):
    _, result, path = page
    before = path.read_text()
    path.unlink()
    report.write(result.run_dir)
    assert path.read_text() == before


def test_a_real_browser_finds_no_error(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium here")
    kind, _, path = page
    for size in ("1200,2400", "390,2400"):
        shot = tmp_path / "page.png"
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={size}",
             f"--screenshot={shot}", f"file://{path}"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "CONSOLE" not in done.stderr and shot.stat().st_size > 20_000, done.stderr[-2000:]


def test_wilson_is_scipys():
    for right, total in ((0, 10), (8, 10), (353, 359), (50, 50)):
        expected = stats.binomtest(right, total).proportion_ci(method="wilson")
        assert intervals.wilson(right, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_bootstrap_covers_like_the_normal_interval():
    values = np.random.default_rng(1).normal(size=2000)
    low, high = intervals.bootstrap(lambda rows: values[rows].mean(), 2000)
    half = 1.96 * values.std() / 2000**0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_curves_with_gaps_and_without_points():
    assert svg.lines("t", [svg.Line("a", [1], [float("nan")])], x="x", y="y") == ""
    one = svg.lines("t", [svg.Line("a", [1, 2, 3], [1.0, float("inf"), 2.0])], x="x", y="y")
    assert one.count(",") >= 2 and "inf" not in one and "nan" not in one
