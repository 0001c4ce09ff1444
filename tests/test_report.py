"""The report: self-contained, small, right in its figures, and without an error in a real browser."""

import html
import itertools
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import precision_recall_fscore_support
from small import experiment, loop

from jaxnets import cli, config, metrics, report
from jaxnets.data import Data
from jaxnets.models import GPT
from jaxnets.optim import AdamW
from jaxnets.report import intervals, svg
from jaxnets.report import page as pages
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


def assert_drawn(path, tmp_path):
    """A wide and a narrow browser window draw the page and find no error in it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium here")
    for size in ("1200,2400", "390,2400"):
        shot = tmp_path / "page.png"
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={size}",
             f"--screenshot={shot}", f"file://{path}"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "CONSOLE" not in done.stderr and shot.stat().st_size > 20_000, done.stderr[-2000:]


def test_a_real_browser_finds_no_error(page, tmp_path):
    assert_drawn(page[2], tmp_path)


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


def tables(text):
    """Every table of a page with a head: {its first title: rows of words}."""
    found = {}
    for table in re.findall(r"<table>(.*?)</table>", text, re.S):
        rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)]
        rows = [[html.unescape(re.sub(r"<small>", " ", cell)) for cell in row] for row in rows]
        found[rows[0][0]] = [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in rows]
    return found


def charts(text):
    """{title of a chart: what is in its picture}."""
    found = re.findall(r'<svg role="img" aria-label="([^"]*)"[^>]*>(.*?)</svg>', text, re.S)
    return {html.unescape(title): inner for title, inner in found}


def test_by_class_is_scikit_learns(page):
    kind, result, path = page
    if kind not in ("rows", "images"):
        pytest.skip("no classes")
    table = np.load(result.run_dir / "evaluation.npz")
    expected = precision_recall_fscore_support(table["target"], table["class"], zero_division=np.nan)
    assert_by_class(tables(path.read_text())["class"][1:], expected)


def test_by_class_where_a_class_is_never_found_or_never_there():
    target, found = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 2, 0, 2, 2])  # 1 is never found, 3 never there
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (target, found), 1)
    shown = tables(pages._per_class(counts, ("a", "b", "c", "d")))["class"][1:]
    expected = precision_recall_fscore_support(target, found, labels=range(4), zero_division=np.nan)
    assert_by_class(shown, expected)
    assert shown[1][1:] == ["–", "0.0000", "0.0000", "1"] and shown[3][1:] == ["–", "–", "–", "0"]


def assert_by_class(shown, expected):
    for row, *values in zip(shown, *expected, strict=True):
        words = ["–" if np.isnan(value) else f"{value:.4f}" for value in values[:3]]
        assert row[1:] == [*words, str(values[3])]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs on the same data, one on other data, and one that stopped half way."""
    folder = tmp_path_factory.mktemp("comparison")
    run(experiment(), folder / "first")
    run(experiment(optim=AdamW(lr=1e-3), seed=1), folder / "second")
    run(RUNS["real"], folder / "other")
    shutil.copytree(folder / "second", folder / "half")
    (folder / "half" / "result.json").unlink()
    log = (folder / "half" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "half" / "metrics.jsonl").write_text("".join(log[:3]))
    return folder


def compared(folder, names, out):
    text = report.compare([folder / name for name in names], out)
    return text, out.read_text()


def test_a_comparison_is_well_formed_small_and_offline(folders, tmp_path):
    _, text = compared(folders, ("first", "second", "other", "half"), tmp_path / "c.html")
    checker = Checker()
    checker.feed(text)
    assert not checker.open and all(link.startswith("data:") for link in checker.links)
    assert "http" not in text and "<script" not in text and len(text) < 1_500_000
    assert_drawn(tmp_path / "c.html", tmp_path)


def test_a_comparison_shows_figures_and_intervals(folders, tmp_path):
    said, text = compared(folders, ("first", "second", "half"), tmp_path / "c.html")
    head, *rows = tables(text)["run"]
    for name, row in zip(("first", "second"), rows, strict=False):
        result = json.loads((folders / name / "result.json").read_text())
        spread = intervals.of_table(dict(np.load(folders / name / "evaluation.npz")))
        for figure, value in result["test"].items():
            shown = f"{value:.4f}"
            if figure in spread:
                shown += " {:.4g} to {:.4g}".format(*spread[figure])
            assert row[head.index(f"test {figure.replace('_', ' ')}")] == shown and shown.split()[0] in said
        found = {title: row[head.index(title)] for title in ("run", "state", "steps", "seconds", "parameters", "data")}
        assert found == {
            "run": name,
            "state": "finished",
            "steps": "40",
            "seconds": f"{result['seconds']:,.1f}",
            "parameters": f"{result['parameters']:,}",
            "data": f"wine {result['data']['sha256'][:12]}",
        }
    assert rows[2][:4] == ["half", "not finished", "–", "–"] and rows[2][head.index("steps")] == "20"
    assert "Not finished: half." in said and "Not finished: half." in text


def test_a_comparison_lays_every_curve_over_the_others(folders, tmp_path):
    _, text = compared(folders, ("first", "second", "half"), tmp_path / "c.html")
    shown = charts(text)
    records = metrics.read(folders / "first" / "metrics.jsonl")
    expected = {
        f"{part} {name.replace('_', ' ')}" for part in ("train", "valid") for r in records for name in r.get(part, ())
    }
    assert expected and expected <= {title.removesuffix(", logarithmic") for title in shown}
    for title, inner in shown.items():
        assert re.findall(r"<polyline class=\"line (c\d)\"", inner) == ["c0", "c1", "c2"], title
        assert re.findall(r"<title>(.*?)</title>", inner) == ["first", "second", "half"]
        assert sorted(re.findall(r'class="ending[^>]*>(.*?)<', inner)) == ["first", "half", "second"]


def test_a_comparison_lists_the_paths_that_differ(folders, tmp_path):
    _, text = compared(folders, ("first", "second", "half"), tmp_path / "c.html")
    old, new = (json.loads((folders / name / "config.json").read_text()) for name in ("first", "second"))
    expected = [[path, *map(json.dumps, (a, b, b))] for path, (a, b) in config.difference(old, new).items()]
    assert tables(text)["path"][1:] == expected and {row[0] for row in expected} == {"optim.lr", "seed"}
    _, text = compared(folders, ("second", "half"), tmp_path / "c.html")
    assert "These configs are equal" in text
    _, text = compared(folders, ("first", "other"), tmp_path / "c.html")
    assert ["task", "classification", "regression"] in tables(text)["path"]


def test_paired_differences_follow_from_the_same_examples(folders, tmp_path):
    """Rows in another order, and some of them missing, are still found by what they are."""
    shutil.copytree(folders / "second", tmp_path / "shuffled")
    first, second = (dict(np.load(folders / name / "evaluation.npz")) for name in ("first", "second"))
    order = np.random.default_rng(0).permutation(len(second["loss"]))[:-5]
    columns = {name: column if name.startswith("wrong") else column[order] for name, column in second.items()}
    np.savez(tmp_path / "shuffled" / "evaluation.npz", **columns)
    out = tmp_path / "c.html"
    report.compare([folders / "first", tmp_path / "shuffled"], out)
    assert np.array_equal(first["row"], second["row"])
    rows = tables(out.read_text())["runs"][1:]
    costs = [-np.log(t["probabilities"][np.arange(len(order) + 5), t["target"]])[order] for t in (second, first)]
    right = [(t["class"] == t["target"])[order] for t in (second, first)]
    difference = costs[0] - costs[1]
    half = 1.96 * float(difference.std()) / len(order) ** 0.5
    shown = {row[2]: row for row in rows}
    assert {row[0] for row in rows} == {"shuffled − first"} and {row[1] for row in rows} == {str(len(order))}
    assert float(shown["nll"][3]) == pytest.approx(difference.mean(), abs=1e-4)
    ends = [float(word) for word in shown["nll"][4].split(" to ")]
    assert ends == pytest.approx([difference.mean() - half, difference.mean() + half], abs=0.25 * half)
    assert float(shown["accuracy"][3]) == pytest.approx(right[0].mean() - right[1].mean(), abs=1e-4)
    one, other = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert shown["accuracy"][5].startswith(f"right alone {one} and {other} times")


def test_runs_on_other_data_are_compared_and_told_apart(folders, tmp_path):
    said, text = compared(folders, ("first", "other", "second"), tmp_path / "c.html")
    assert "not comparable" in said and "not comparable" in text
    assert {row[0] for row in tables(text)["runs"][1:]} == {"second − first"}
    said, text = compared(folders, ("first", "second"), tmp_path / "c.html")
    assert "not comparable" not in said + text
    said, text = compared(folders, ("first", "other", "half"), tmp_path / "c.html")
    assert "No two of these runs" in text and " − " not in said


def test_the_same_targets_are_needed_for_a_pair(folders, tmp_path):
    shutil.copytree(folders / "second", tmp_path / "changed")
    table = dict(np.load(folders / "second" / "evaluation.npz"))
    np.savez(tmp_path / "changed" / "evaluation.npz", **(table | {"target": (table["target"] + 1) % 3}))
    report.compare([folders / "first", tmp_path / "changed"], tmp_path / "c.html")
    assert "No two of these runs" in (tmp_path / "c.html").read_text()


def test_the_same_question_is_needed_for_a_pair(folders, tmp_path):
    """Equal rows and targets of a source that has changed are other examples."""
    shutil.copytree(folders / "second", tmp_path / "changed")
    schema = json.loads((folders / "second" / "schema.json").read_text())
    (tmp_path / "changed" / "schema.json").write_text(json.dumps(schema | {"fingerprint": "0" * 64}))
    said = report.compare([folders / "first", tmp_path / "changed"], tmp_path / "c.html")
    assert "No two of these runs" in (tmp_path / "c.html").read_text() and "not comparable" in said


def test_folders_of_one_name_are_told_apart(folders, tmp_path):
    shutil.copytree(folders / "second", tmp_path / "b" / "first")
    report.compare([folders / "first", tmp_path / "b" / "first"], tmp_path / "c.html")
    names = [row[0] for row in tables((tmp_path / "c.html").read_text())["run"][1:]]
    assert names == [f"{folders.name}/first", "b/first"]


@pytest.fixture
def main(capsys, monkeypatch, tmp_path):
    """The command line in an empty folder: (exit code, stdout, stderr)."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*words):
        return cli.main(["report", *map(str, words)]), *capsys.readouterr()

    return call


def test_a_comparison_that_cannot_be_is_refused(folders, main, tmp_path):
    first, second = folders / "first", folders / "second"
    cases = [
        ([first, tmp_path / "nowhere"], "nowhere is not a run folder"),
        ([first, second, f"{folders}/./first"], "is the run"),
        ([first, second, "--out", "none/c.html"], "--out none/c.html is not allowed; give a file that ends in .html"),
        ([first, second, "--out", "c.pdf"], "--out c.pdf is not allowed; give a file that ends in .html"),
        ([first, "--out", "c.html"], "--out c.html is for a comparison of two runs or more"),
    ]
    for words, told in cases:
        code, out, errors = main(*words)
        assert (code, out) == (2, "") and told in errors and not any((tmp_path / "here").iterdir()), errors


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b'{"data": '),
        ("config.json", b"[]"),
        ("schema.json", b"{}"),
        ("result.json", b'{"test": {}}'),
        ("env.json", b"null and void"),
        ("metrics.jsonl", b'{"step": 1, "time": {}\n'),
        ("metrics.jsonl", b'{"loss": 1.0}\n'),
        ("evaluation.npz", b"PK no archive"),
    ],
)
def test_a_damaged_folder_is_named_and_nothing_is_written(name, content, folders, main, tmp_path):
    shutil.copytree(folders / "second", tmp_path / "bad")
    (tmp_path / "bad" / name).write_bytes(content)
    code, out, errors = main(folders / "first", tmp_path / "bad")
    assert (code, out) == (2, "") and "bad cannot be compared" in errors and name in errors, errors
    assert "leave this run out" in errors and not any((tmp_path / "here").iterdir())
    (tmp_path / "bad" / "report.html").unlink()
    code, _, errors = main(tmp_path / "bad")  # of one run: what is damaged is a file of it, not the user's words
    assert code in (3, 4) and name in errors and not (tmp_path / "bad" / "report.html").exists()


def test_the_command_compares_where_more_than_one_run_is_given(folders, main, tmp_path):
    code, out, _ = main(folders / "first", folders / "second")
    assert code == 0 and out.splitlines()[-1] == "comparison.html" and "second − first" in out
    code, out, _ = main(folders / "first", folders / "second", "--out", tmp_path / "two.html")
    assert code == 0 and out.splitlines()[-1] == str(tmp_path / "two.html")
    assert (tmp_path / "two.html").read_text() == (tmp_path / "here" / "comparison.html").read_text()
    code, out, _ = main(folders / "first")
    assert code == 0 and out == f"{folders / 'first' / 'report.html'}\n"


def copy_with(folders, tmp_path, *, change_record=None, **result):
    """A copy of the first run whose log and result are changed, and its page."""
    copy = tmp_path / "copy"
    shutil.copytree(folders / "first", copy)
    records = metrics.read(copy / "metrics.jsonl")
    for record in records:
        if change_record:
            change_record(record)
    (copy / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    figures = json.loads((copy / "result.json").read_text())
    (copy / "result.json").write_text(json.dumps(figures | result))
    return copy, report.write(copy).read_text()


def with_groups(record):
    if "train" in record:
        without_groups(record)
        record["train"] |= {"grad_norm/conv1": 0.5, "grad_norm/head": 0.1 * record["step"]}


def without_groups(record):
    for name in [name for name in record.get("train", {}) if name.startswith("grad_norm/")]:
        del record["train"][name]


def test_norms_of_groups_are_one_plot(folders, tmp_path):
    copy, text = copy_with(folders, tmp_path, change_record=with_groups)
    shown = charts(text)
    title = "norms of the gradients of each group, logarithmic"
    assert re.findall(r"<title>(.*?)</title>", shown[title]) == ["conv1", "head"]
    assert not any("grad" in name for name in shown if name != title)
    assert title in charts(report.write(folders / "first").read_text())  # of a run as it is
    _, bare = copy_with(folders, tmp_path / "bare", change_record=without_groups)
    assert title not in charts(bare)
    (copy / "result.json").unlink()  # killed before its first evaluation: train figures alone
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text(lines[0])
    shown = charts(report.write(copy).read_text())
    assert title in shown and "grad norm" not in shown and "learning rate" in shown and "update norm" not in shown
    _, text = compared(tmp_path, ("copy", tmp_path / "bare" / "copy"), tmp_path / "c.html")
    assert "2 groups" in text and "train grad norm/head, logarithmic" in charts(text)


def test_position_and_wall_time_are_those_of_the_files(folders, tmp_path):
    def timed(record):
        record["time"]["seconds"] = 0.25 if "valid" in record else record["step"] / 10

    changes = {"seconds": 8.0, "evaluation_seconds": 1.5, "passed_over_batches": [2, 3], "skipped_steps": 4}
    _, text = copy_with(folders, tmp_path, change_record=timed, **changes)
    rows = dict(re.findall(r"<tr><th>([^<]*)</th><td>([^<]*)</td></tr>", text))
    train = json.loads((folders / "first" / "schema.json").read_text())["counts"]["train"]
    expected = {
        "steps": "40 of 16 examples",
        "examples seen": "640",
        "batches passed over": "2, 3",
        "next batch": "number 42",
        "epochs passed": f"{42 * 16 / train:.2f} of {train:,} examples",
        "steps skipped": "4",
        "training loop": "8.0 s, evaluations and checkpoints with it",
        "evaluations": "0.5 s of it, 2 of the validation split",
        "examples per second": "80, a mean over the loop",
        "final test": "1.5 s",
    }
    assert {name: rows.get(name) for name in expected} == expected
    plot = next(inner for title, inner in charts(text).items() if title.startswith("throughput"))
    assert "seconds of training" in plot and len(re.search(r'points="(.*?)"', plot)[1].split()) == 4


def test_the_position_of_a_run_under_way(folders):
    text = report.write(folders / "half").read_text()
    rows = dict(re.findall(r"<tr><th>([^<]*)</th><td>([^<]*)</td></tr>", text))
    assert rows["steps"] == "20 of 16 examples" and rows["examples seen"] == "320"
    assert "when the run has finished" in rows["batches passed over"] and "final test" not in rows


def test_mcnemar_is_scipys():
    for one, other in ((0, 0), (3, 0), (12, 2), (40, 61), (900, 1000)):
        expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
        assert intervals.mcnemar(one, other) == pytest.approx(expected, rel=1e-9)


def tango(both, first, second, neither):
    """The score interval of a paired difference (Tango, 1998), by its roots: another road to the same end."""
    total = both + first + second + neither

    def score(d):
        b = (2 * total - first + second) * d - first - second
        share = (np.sqrt(b * b + 8 * total * second * d * (1 - d)) - b) / (4 * total)
        return (first - second - total * d) / np.sqrt(total * (2 * share + d * (1 - d)))

    middle, end = (first - second) / total, stats.norm.ppf(0.975)
    low = optimize.brentq(lambda d: score(d) - end, -0.999, middle - 1e-9)
    return low, optimize.brentq(lambda d: score(d) + end, middle + 1e-9, 0.999)


def test_newcombe_is_near_tango():
    for counts in ((300, 40, 20, 40), (330, 12, 5, 12), (900, 30, 20, 50), (400, 90, 110, 200)):
        expected = tango(*counts)
        width = expected[1] - expected[0]  # the two methods differ by a hundredth of it where there are many examples
        assert intervals.newcombe(*counts) == pytest.approx(expected, abs=0.02 * width)


@pytest.mark.slow
def test_newcombe_holds_the_truth():
    """Also of few examples that are alike, where it does so 92 times of 100 without its correction of continuity."""
    draw = np.random.default_rng(0)
    for total, shares in ((50, (0.6, 0.04, 0.02, 0.34)), (200, (0.9, 0.06, 0.02, 0.02)), (200, (0.6, 0.1, 0.1, 0.2))):
        found = [intervals.newcombe(*counts) for counts in draw.multinomial(total, shares, size=2000).tolist()]
        held = np.mean([low <= shares[1] - shares[2] <= high for low, high in found])
        assert 0.935 <= held <= 0.995  # 2000 draws move 0.95 by 0.015, three standard errors
    low, high = intervals.newcombe(50, 0, 0, 0)
    assert low < 0 < high


def test_a_curve_keeps_its_colour_where_another_is_missing():
    curves = [svg.Line("a", [], []), svg.Line("b", [1, 2], [1.0, 2.0])]
    assert 'class="line c1"' in svg.lines("t", curves, x="x", y="y")
    many = svg.lines("t", [svg.Line(str(i), [1, 2], [i, i]) for i in range(12)], x="x", y="y")
    kinds = re.findall(r'<polyline class="line ([^"]*)"', many)
    assert len(set(kinds)) == 12


def test_names_at_the_ends_of_curves_do_not_lie_over_each_other():
    curves = [svg.Line(f"run {i}", [1, 2], [1.0, i / 1000]) for i in range(8)]
    places = re.findall(
        r'class="ending[^"]*" x="([\d.]*)" y="([\d.]*)"', svg.lines("t", curves, x="x", y="y", ends=True)
    )
    heights = sorted(float(y) for _, y in places)
    assert len(heights) == 8 and min(np.diff(heights)) >= 12.9 and heights[0] > 0 and heights[-1] < 262


# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
_SEEN = {
    "all": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _linear(colour):
    share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def _lab(linear):
    share = _XYZ @ np.clip(linear, 0, 1) / _XYZ.sum(axis=1)
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_stay_apart_for_every_eye():
    from jaxnets.report import document

    style = document._STYLE.read_text()
    palettes = re.findall(r"--a:(#\w{6});--b:(#\w{6});--c:(#\w{6});--d:(#\w{6})", style)
    backs = [colour if len(colour) == 7 else "#ffffff" for colour in re.findall(r"--back:(#\w+)", style)]
    assert len(palettes) == len(backs) == 2  # light and dark
    for palette, back in zip(palettes, backs, strict=True):
        for colour in palette:  # WCAG 2.1: 3 for graphics
            dark, light = sorted((_XYZ @ _linear(c))[1] for c in (colour, back))
            assert (light + 0.05) / (dark + 0.05) >= 3
        for (name, seen), (a, b) in itertools.product(_SEEN.items(), itertools.combinations(palette, 2)):
            apart = np.linalg.norm(_lab(np.asarray(seen) @ _linear(a)) - _lab(np.asarray(seen) @ _linear(b)))
            assert apart > 18, (name, a, b)  # CIE76; 2.3 is just noticeable
