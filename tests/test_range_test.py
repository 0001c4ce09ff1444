"""The learning-rate range test: rises, compiles once, stops where it diverges, and suggests a rate that trains."""

import re
import shutil

import numpy as np
import pytest
from small import experiment, loop, photograph
from test_report import Checker

from jaxnets import cli
from jaxnets.errors import UsageError
from jaxnets.optim import SGD, AdamW, Constant
from jaxnets.progress import Progress
from jaxnets.range_test import range_test, suggest, text
from jaxnets.report import rates
from jaxnets.run import run


@pytest.fixture(scope="module")
def found():
    return range_test(experiment(optim=SGD(lr=1.0, momentum=None, nesterov=False)), low=1e-5, high=1e4, steps=120)


def test_it_stops_where_the_loss_diverges(found):
    assert len(found.rates) == len(found.losses) < 120
    assert np.isfinite(found.losses).all() and found.losses.min() < 0.9 * found.losses[0]
    ratio = found.rates[1:] / found.rates[:-1]
    np.testing.assert_allclose(ratio, ratio[0])


def test_its_suggestion_trains_better_than_a_hundredth_and_a_hundred_times_of_it(found, tmp_path):
    def end(rate):
        one = experiment(
            optim=SGD(lr=rate, momentum=None, nesterov=False, schedule=Constant()),
            loop=loop(steps=80, eval_every=80, save_every=80),
        )
        return run(one, tmp_path / str(rate), progress=Progress(quiet=True)).figures["valid"]["nll"]

    assert end(found.suggestion) < end(found.suggestion / 100)
    assert f"--optim.lr {found.suggestion:g}" in text(found)


def test_a_loss_that_never_falls_gives_no_suggestion():
    rates = np.geomspace(1e-3, 1, 20)
    assert suggest(rates, np.linspace(1, 2, 20)) is None and suggest(rates[:2], np.ones(2)) is None


def test_the_command_and_what_it_refuses(tmp_path, capsys, monkeypatch):
    assert cli.main(["lr-find", "configs/wine_mlp.py", "--steps", "30", "--optim", "adam"]) == 0
    assert "loss" in capsys.readouterr().out
    for words in (["--low", "1", "--high", "0.1"], ["--steps", "2"], ["--optim.lrr", "1"]):
        assert cli.main(["lr-find", "configs/wine_mlp.py", *words]) == 2
    assert cli.main(["lr-find", "configs/wine_mlp.py", "--steps", "many"]) == 2
    with pytest.raises(UsageError, match="give 0 < --low < --high"):
        range_test(experiment(optim=AdamW()), low=-1.0)


def numbers(pattern, page):
    return np.asarray([float(value) for value in re.findall(pattern, page)])


def drawn(folder, x, y, suggestion):
    rates.write(folder / "lr.html", {"source": "<b>"}, x, y, suggestion, told="found & told")
    return (folder / "lr.html").read_text()


def test_the_chart_has_a_logarithmic_axis_and_marks_the_suggestion(tmp_path):
    """Rates of equal ratio stand at equal distances, and the mark stands among them where its rate belongs."""
    x = np.geomspace(1e-4, 1.0, 5)
    page = drawn(tmp_path, x, np.asarray([3.0, 3.0, 2.0, 1.0, 2.5]), 1e-3)
    line = re.search(r'<polyline class="line c0" points="([^"]+)"', page)[1]
    points = np.asarray([pair.split(",") for pair in line.split()], float)
    # Places are written to a tenth of a pixel.
    np.testing.assert_allclose(np.diff(points[:, 0]), np.ptp(points[:, 0]) / 4, atol=0.11)
    assert points[:, 1].argmax() == 3  # down the page is less
    (mark,) = numbers(r'<line class="guide" x1="([\d.]+)"', page)
    assert abs(mark - points[1, 0]) < 0.11 and "suggested: 0.001</text>" in page
    ticks = re.findall(r'<text class="tick mid" x="([\d.]+)" y="[\d.]+">([^<]+)<', page)
    expected = np.interp(np.log10([float(words) for _, words in ticks]), np.log10(x), points[:, 0])
    assert len(ticks) > 3
    np.testing.assert_allclose([float(place) for place, _ in ticks], expected, atol=0.11)
    checker = Checker()
    checker.feed(page)
    assert not checker.open and "&lt;b&gt;" in page and "found &amp; told" in page and "<script" not in page
    assert all(link.startswith("data:") for link in checker.links)


def test_without_a_suggestion_or_a_loss_there_is_no_mark(tmp_path):
    page = drawn(tmp_path, np.geomspace(1e-4, 1.0, 5), np.arange(5.0), None)
    assert "polyline" in page and "suggested" not in page and "guide" not in page.split("</style>")[1]
    assert "polyline" not in drawn(tmp_path, np.asarray([]), np.asarray([]), None)


def test_the_command_writes_the_page(tmp_path, capsys):
    out = tmp_path / "lr.html"
    assert cli.main(["lr-find", "configs/wine_mlp.py", "--steps", "20", "--out", str(out), "--optim", "lion"]) == 0
    told, page = capsys.readouterr().out, out.read_text()
    suggestion = re.search(r"--optim.lr (\S+)", told)[1]
    assert f"suggested: {suggestion}<" in page and f"chart in {out}" in told
    assert all(words in page for words in ("wine", "lion", "mlp", "in 20 steps"))


@pytest.mark.parametrize(
    ("out", "words"), [("lr.png", "ends in .html"), ("nowhere/lr.html", "in a folder that is there")]
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_done(out, words, capsys):
    assert cli.main(["lr-find", "configs/wine_mlp.py", "--out", out]) == 2
    said, errors = capsys.readouterr()
    assert f"--out {out}" in errors and words in errors and not said


def test_a_real_browser_finds_no_error(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium here")
    drawn(tmp_path, np.geomspace(1e-4, 1.0, 5), np.asarray([3.0, 3.0, 2.0, 1.0, 2.5]), 1e-3)
    said = photograph(browser, tmp_path / "lr.html", tmp_path / "page.png")
    assert "CONSOLE" not in said and (tmp_path / "page.png").stat().st_size > 10_000, said[-2000:]
