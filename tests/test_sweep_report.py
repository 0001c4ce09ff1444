"""The page of a sweep: what it says follows from sweep.json, importances are those of fANOVA, a browser draws it."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import sweeps

from jaxnets import cli
from jaxnets.errors import CheckpointError, UsageError
from jaxnets.report.sweep import costs, spread
from jaxnets.report.sweep import write as write_page
from jaxnets.report.sweep.advice import advise, next_command
from jaxnets.report.sweep.charts import unbeaten
from jaxnets.report.sweep.dimension import read_dimension
from jaxnets.report.sweep.folder import curve, find, read
from jaxnets.report.sweep.forest import GRID, importance


def sweep_of(folder, content):
    return read(sweeps.write(folder, content))


def trials_with(values, settings, **more):
    """Trials that are no more than their settings and value; None has failed."""
    return [
        {"number": k, "state": "failed" if value is None else "complete", "settings": one,
         "values": None if value is None else [value], **more}
        for k, (value, one) in enumerate(zip(values, settings, strict=True))
    ]  # fmt: skip


def small(space, values, settings, **more):
    objectives = [{"figure": "valid.loss", "larger_is_better": False}]
    return {"name": "s", "config": "c.py", "space": space, "objectives": objectives,
            "trials": trials_with(values, settings)} | more  # fmt: skip


def data_of(page):
    text = re.search(r'<script type="application/json" id="sweep">(.*?)</script>', page, re.S)
    assert text
    return json.loads(text[1])


# ---------------------------------------------------------------- what a forest says


@pytest.mark.slow
def test_shares_are_those_of_optunas_fanova():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: optuna.distributions.FloatDistribution(0, 1) for name in "abc"}
    distributions["k"] = optuna.distributions.CategoricalDistribution(("x", "y", "z"))
    random, study, places, losses = np.random.default_rng(0), optuna.create_study(), [], []
    for _ in range(150):
        a, b, c, k = *random.random(3).tolist(), int(random.integers(3))
        losses.append(2 * a + np.sin(6 * b) + 0.7 * k + 1.5 * a * b)
        places.append((a, b, c, (k + 0.5) / 3))
        study.add_trial(
            optuna.trial.create_trial(
                params={"a": a, "b": b, "c": c, "k": "xyz"[k]}, distributions=distributions, value=losses[-1]
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=64, seed=0)
    theirs = evaluator.evaluate(study)
    ours = importance(np.array(places), np.array(losses))
    # Other trees on other bootstrap samples, and one-hot choices there: 0.05 is three times the most seen over seeds.
    assert ours.shares == pytest.approx([theirs[name] for name in "abck"], abs=0.05)
    assert ours.explained > 0.8


def test_shares_of_a_sum_and_a_product_are_those_of_calculus():
    at = np.random.default_rng(0).random((1500, 3))
    found = importance(at, 2 * at[:, 0] + at[:, 1])
    # Var(2a) = 4/12 and Var(b) = 1/12 of 5/12; a forest of 256 leaves is coarse, so ± 0.05.
    assert found.shares == pytest.approx([0.8, 0.2, 0.0], abs=0.05) and max(found.pairs.values()) < 0.02
    middles = (np.arange(GRID) + 0.5) / GRID
    assert found.marginals[0].mean[4:-4] == pytest.approx(2 * middles[4:-4] + 0.5, abs=0.15)
    product = importance(at, (at[:, 0] - 0.5) * (at[:, 1] - 0.5))
    assert product.shares.max() < 0.1 and product.pairs[0, 1] > 0.6  # nothing alone, all of it together
    corner = product.grids[0, 1].mean
    assert corner[2, 2] > 0.1 and corner[-3, 2] < -0.1  # x first, y second


def test_a_dimension_that_is_not_asked_matters_where_it_is():
    random = np.random.default_rng(1)
    at = random.random((400, 2))
    losses = np.where(at[:, 0] < 0.5, 3 * at[:, 1], 1.5)
    at[at[:, 0] >= 0.5, 1] = np.nan
    found = importance(at, losses)
    assert np.isfinite(found.shares).all() and found.shares[1] > 0.2 and found.pairs[0, 1] > 0.2


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("text", "value", "place"),
    [
        ("log(0.0001,1)", 0.01, 0.5),
        ("uniform(-1,1)", 0.5, 0.75),
        ("int(2,8)", 5, 0.5),
        ("int(1,7,log=True)", 1, np.log(2) / np.log(15)),
        ("choice(64,128)", 128, 0.75),
        ("choice(True,False)", False, 0.75),
        ("choice(none,0.5)", None, 0.25),
        ("range(5)", 0, 0.1),
        ("uniform(0,0.99) if optim=sgd", 0.0, 0.0),
        ("choice((1,2),(3,4))", [3, 4], np.nan),
    ],
)
def test_places_of_values(text, value, place):
    assert read_dimension(text).scale.place(value) == pytest.approx(place, nan_ok=True)


def test_an_unknown_spelling_is_taken_from_the_trials():
    assert read_dimension("normal(0,1)", [-1.0, 3.0]).scale[:2] == (-1.0, 3.0)
    assert read_dimension("words", ["b", "a"]).scale.names == ("a", "b")
    assert read_dimension("words").scale.names == ("none",)


def test_what_cannot_be_read_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweeps.write(tmp_path / "sweeps" / "digits_sweep", sweeps.written(3))
    with pytest.raises(UsageError, match="no sweep digit_sweep; perhaps you meant digits_sweep"):
        find("digit_sweep")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty is not the folder of a sweep"):
        find("empty")
    assert cli.main(["sweep-report", "digit_sweep"]) == 2 and "perhaps you meant" in capsys.readouterr().err
    assert cli.main(["sweep-report", "digits_sweep", "--out", "x.txt"]) == 2
    assert cli.main(["sweep-report", "digits_sweep", "--dollars-per-hour", "-1"]) == 2
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ('{"name": "x", "tri', "missing or damaged"),
        ("[]", "it holds no name"),
        ({"trials": None}, "it holds no trials"),
        ({"objectives": []}, "it holds no objective"),
        ({"objectives": [{"figure": "valid.loss"}]}, "it holds no larger_is_better"),
        ({"trials": [{"state": "complete", "settings": {}}]}, "it holds no number"),
        ({"trials": [{"number": 0, "state": "complete", "settings": {}, "values": [1, 2]}]}, "2 values for 1"),
        ({"trials": [{"number": 0, "state": "complete", "settings": 3}]}, "no settings"),
    ],
)
def test_a_damaged_file_is_named(damage, words, tmp_path):
    content = damage if isinstance(damage, str) else json.dumps(sweeps.written(3) | damage)
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(CheckpointError, match=words) as told:
        write_page(str(tmp_path))
    assert str(tmp_path / "sweep.json") in str(told.value) and not (tmp_path / "sweep.html").exists()


@pytest.mark.parametrize("trials", [[], "waiting", "failed"])
def test_a_sweep_without_a_finished_trial_says_so(trials, tmp_path):
    content = sweeps.written(4, wanted=9)
    if trials:
        for one in content["trials"]:
            one.update(state=trials, values=None, curve=[])
    else:
        content["trials"] = []
    write_page(str(sweeps.write(tmp_path, content)))
    page = (tmp_path / "sweep.html").read_text()
    assert "No trial has finished with a value yet" in page and "of 9 trials have ended" in page
    assert "it takes 20 finished trials" in page and "Best trials" not in page


# ---------------------------------------------------------------- what is said


def test_the_best_and_the_counts_are_those_of_the_file(tmp_path):
    content = sweeps.written(60)
    said = write_page(str(sweeps.write(tmp_path, content)))
    best = content["best"]
    states = [one["state"] for one in content["trials"]]
    assert f"trial {best['number']} " in said and f"{best['values'][0]:.5g}" in said
    assert f"{states.count('complete')} complete, {states.count('pruned')} pruned" in said
    page = (tmp_path / "sweep.html").read_text()
    first = re.search(r'<span data-trial="\d+">(\d+)</span>', page)
    assert first and int(first[1]) == best["number"]
    assert said.endswith(str(tmp_path / "sweep.html")) and "http" not in page


def test_the_page_carries_every_trial_and_every_curve(tmp_path):
    content = sweeps.written(40, second=True)
    write_page(str(sweeps.write(tmp_path, content)))
    data = data_of((tmp_path / "sweep.html").read_text())
    assert data["states"] == "".join(one["state"][0] for one in content["trials"])
    (curves,) = [chart for chart in data["charts"] if chart["kind"] == "curves"]
    ends = np.frombuffer(base64.b64decode(curves["ends"]), "<u4")
    points = np.frombuffer(base64.b64decode(curves["points"]), "<u2").reshape(-1, 2)
    assert np.diff(ends).tolist() == [len(one["curve"]) for one in content["trials"]] and len(points) == ends[-1]
    assert points[ends[3] : ends[4], 0].tolist() == [
        round(60000 * step / 300) for step, _ in content["trials"][3]["curve"]
    ]
    lr = np.frombuffer(base64.b64decode(data["columns"]["optim.lr"]), "<u2") / 60000
    assert lr == pytest.approx([np.log10(one["settings"]["optim.lr"] * 1e4) / 3 for one in content["trials"]], abs=1e-4)
    assert {chart["kind"] for chart in data["charts"]} == {"points", "curves", "rows"}


def test_the_page_tells_where_settings_changed_on_the_way(tmp_path):
    content = small({"a": "log(0.1,1)"}, [1.0, 2.0], [{"a": 0.2}, {"a": 0.5}])
    write_page(str(sweeps.write(tmp_path, content)))
    assert "changed after steps" not in (tmp_path / "sweep.html").read_text()
    content["trials"][1]["history"] = [[1000, 0, {"a": 0.3}], [2000, 0, {"a": 0.5}]]
    write_page(str(sweeps.write(tmp_path, content)))
    page = (tmp_path / "sweep.html").read_text()
    assert "changed after steps" in page and "1,000, 2,000" in page


def test_a_trial_that_ended_at_a_rung_stands_at_its_last_value_there(tmp_path):
    content = small({"optim.lr": "log(0.001,1)"}, [0.1, 0.2, 9.0], [{"optim.lr": lr} for lr in (0.1, 0.01, 0.5)])
    content["trials"][0]["curve"] = [[9, 0.1]]
    content["trials"][2].update(state="pruned", values=None, rungs={"3": 0.15, "1": float("inf")})
    sweep = sweep_of(tmp_path, content)
    assert curve(sweep.trials[2]).tolist() == [[3, 0.15]]
    write_page(str(tmp_path))
    page = (tmp_path / "sweep.html").read_text()
    losses = np.frombuffer(base64.b64decode(data_of(page)["columns"]["valid loss"]), "<u2").tolist()
    assert losses[0] < losses[2] < losses[1] and abs(losses[2] - 30000) < 9
    assert "a pruned trial at its last valid loss" in page and ">pruned<" in page and "failed ✕" not in page


@pytest.mark.parametrize("done", [2, 3])
def test_curves_of_trials_that_were_stopped_far_off_do_not_make_the_axis(done, tmp_path):
    content = small({"seed": "range(4)"}, [1.0] * (done + 1), [{"seed": k} for k in range(done + 1)])
    for one in content["trials"]:
        one["curve"] = [[3, 1.2], [9, 1.0]]
    content["trials"][-1].update(state="pruned", values=None, curve=[[3, 1.5]])
    write_page(str(sweeps.write(tmp_path, content)))
    (curves,) = [one for one in data_of((tmp_path / "sweep.html").read_text())["charts"] if one["kind"] == "curves"]
    points = np.frombuffer(base64.b64decode(curves["points"]), "<u2").reshape(-1, 2)
    assert (points[-1, 1] > 60000) == (done == 3)


def test_pruned_trials_are_shown_at_their_first_figure_where_there_are_several(tmp_path):
    content = sweeps.written(60, second=True)
    write_page(str(sweeps.write(tmp_path, content)))
    columns = data_of((tmp_path / "sweep.html").read_text())["columns"]
    first, second = (np.frombuffer(base64.b64decode(columns[name]), "<u2") for name in list(columns)[6:8])
    pruned = [place for place, one in enumerate(content["trials"]) if one["state"] == "pruned"]
    assert pruned and all(first[pruned] < 65535) and all(second[pruned] == 65535)


def test_a_setting_that_is_none_is_told_from_one_that_is_not_there(tmp_path):
    settings = [{"model.dropout": None}, {}]
    write_page(str(sweeps.write(tmp_path, small({"model.dropout": "choice(none,0.1)"}, [0.1, 0.2], settings))))
    rows = re.findall(r"<tr>(.*?)</tr>", (tmp_path / "sweep.html").read_text())
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows if "data-trial" in row]
    assert "none" not in cells[1] and cells[1][cells[0].index("none")] == "–"


def test_names_and_reasons_cannot_break_the_page(tmp_path):
    content = small({"m.x": "choice(a,b)"}, [0.1, None], [{"m.x": "a"}, {"m.x": "</script><b>"}], name="<i>x</i>")
    content["trials"][1]["why"] = "</script><script>alert(1)</script>"
    write_page(str(sweeps.write(tmp_path, content)))
    page = (tmp_path / "sweep.html").read_text()
    assert "<i>x</i>" not in page and page.count("<script") == 2 and "alert(1)</" not in page


def test_the_front_is_what_no_other_trial_beats(tmp_path):
    sweep = sweep_of(tmp_path, sweeps.written(80, second=True))
    done = [(place, *sweep.values[place]) for place in np.flatnonzero(sweep.complete()).tolist()]
    kept = {place for place, x, y in done if not any(a <= x and b <= y and (a, b) != (x, y) for _, a, b in done)}
    assert set(unbeaten(sweep)) == kept and len(kept) > 3


def kinds(sweep, important=None):
    return {(one.kind, *one.over, *one.still) for one in advise(sweep, important or {})}


def test_the_best_at_an_edge_ask_for_a_wider_range(tmp_path):
    rates = np.geomspace(1e-4, 0.1, 60)
    space, settings = {"optim.lr": "log(0.0001,0.1)"}, [{"optim.lr": float(rate)} for rate in rates]
    sweep = sweep_of(tmp_path, small(space, (-rates).tolist(), settings))
    assert ("widen", "optim.lr") in kinds(sweep)
    assert "'optim.lr=log(0.0001,3)'" in next_command(sweep, advise(sweep, {}))
    inside = ((np.log10(rates) + 2.5) ** 2).tolist()  # best at 0.003, in the middle
    sweep = sweep_of(tmp_path, small(space, inside, settings))
    assert {one[0] for one in kinds(sweep)} & {"widen", "narrow"} == {"narrow"}
    random = np.random.default_rng(0).random(60).tolist()
    assert not {one[0] for one in kinds(sweep_of(tmp_path, small(space, random, settings)))} & {"widen", "narrow"}


def test_a_dimension_that_explains_nothing_is_held_at_the_best(tmp_path):
    random = np.random.default_rng(0)
    settings = [{"a": float(random.random()), "b": float(random.random())} for _ in range(40)]
    sweep = sweep_of(
        tmp_path, small({"a": "uniform(0,1)", "b": "uniform(0,1)"}, [one["a"] for one in settings], settings)
    )
    best = min(settings, key=lambda one: one["a"])
    (held,) = [one for one in advise(sweep, {"a": 0.98, "b": 0.005}) if one.kind == "fix"]
    assert held.still == {"b": repr(best["b"])}


@pytest.mark.parametrize(("place", "kind"), [(5, "stop"), (29, "go on"), (22, None)])
def test_whether_the_search_still_gains(place, kind, tmp_path):
    values = [1.0 + k * 0.01 for k in range(30)]
    values[place] = 0.5
    sweep = sweep_of(tmp_path, small({"a": "uniform(0,1)"}, values, [{"a": (7 * k % 30) / 30} for k in range(30)]))
    assert {one.kind for one in advise(sweep, {})} & {"stop", "go on"} == ({kind} if kind else set())


def test_where_trials_fail_is_told_with_the_reason(tmp_path):
    rates = np.geomspace(1e-4, 0.1, 60).tolist()
    values = [None if rate > 0.03 else 0.3 for rate in rates]
    content = small({"optim.lr": "log(0.0001,0.1)"}, values, [{"optim.lr": rate} for rate in rates])
    for one in content["trials"]:
        one["why"] = "not finite at step 12" if one["state"] == "failed" else None
    (told,) = [one for one in advise(sweep_of(tmp_path, content), {}) if one.kind == "failures"]
    assert "optim.lr > 0.025" in told.words and "(not finite at step N)" in told.words
    scattered = [None if k % 5 == 0 else 0.3 for k in range(60)]
    content = small({"optim.lr": "log(0.0001,0.1)"}, scattered, [{"optim.lr": rate} for rate in rates])
    assert not [one for one in advise(sweep_of(tmp_path, content), {}) if one.kind == "failures"]


def test_seeds_of_equal_settings_are_grouped(tmp_path):
    random = np.random.default_rng(0)
    settings = [{"a": a, "seed": seed} for a in (0.1, 0.2, 0.3) for seed in range(3)]
    values = [one["a"] + 0.2 * random.random() for one in settings]
    sweep = sweep_of(tmp_path, small({"a": "uniform(0,1)", "seed": "range(3)"}, values, settings))
    found = spread.groups(sweep)
    means = [np.mean(values[3 * k : 3 * k + 3]) for k in range(3)]
    assert [group.mean for group in found] == pytest.approx(sorted(means))
    assert spread.pooled(found) == pytest.approx(
        np.sqrt(np.mean([np.var(values[3 * k : 3 * k + 3], ddof=1) for k in range(3)]))
    )
    best = int(np.argmin(means))
    half = 4.302653 * np.std(values[3 * best : 3 * best + 3], ddof=1) / 3**0.5  # t of 2 degrees of freedom, a table's
    assert found[0].interval == pytest.approx((means[best] - half, means[best] + half), rel=1e-6)
    assert "Welch" in spread.content(sweep)


def test_the_cost_is_that_of_the_devices_over_the_wall_time(tmp_path):
    content = sweeps.written(10)
    content["seconds"]["wall"], content["devices"] = 7200.0, ["NVIDIA H100"] * 4
    sweep = sweep_of(tmp_path, content)
    assert ("cost", "$24.00", "at $3 an hour for a device") in costs.cards(sweep, 3.0)
    assert "4 × NVIDIA H100" in costs.content(sweep, 3.0) and "8 h 0 min" in costs.content(sweep, 3.0)
    assert not [card for card in costs.cards(sweep, None) if card[0] == "cost"]


# ---------------------------------------------------------------- in a browser

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")


# Counts the charts that have ink, points into the first, and draws along the axis of the rate to its middle.
PROBE = """
const root = document.documentElement;
addEventListener("error", event => root.dataset.error = event.message);
addEventListener("load", () => {
  const plates = [...document.querySelectorAll(".plate")];
  const inked = plates.map(plate => plate.querySelectorAll("canvas")[1]).filter(canvas => canvas.width > 300 &&
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(value => value));
  root.dataset.inked = inked.length + "/" + plates.length;
  const at = (plate, kind, x, y) => {
    const frame = plate.getBoundingClientRect(), scale = frame.width / 640;
    plate.dispatchEvent(new PointerEvent(kind, {clientX: frame.left + x * scale, clientY: frame.top + y * scale}));
  };
  for (let y = 40; y < 280 && dock.hidden; y += 10) at(plates[0], "pointermove", 300, y);
  root.dataset.said = dock.textContent;
  at(plates[0], "pointerleave", 0, 0);
  const rows = document.querySelector(".plate.rows");
  rows.setPointerCapture = () => {};  // there is no pointer
  window.requestAnimationFrame = what => what();
  at(rows, "pointerdown", 0, 24);
  at(rows, "pointermove", 320, 24);
  at(rows, "pointerup", 320, 24);
  root.dataset.chosen = dock.textContent;
});
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_draws_it_without_an_error(tmp_path):
    write_page(str(sweeps.write(tmp_path, sweeps.written(60))))
    page = tmp_path / "sweep.html"
    page.write_text(page.read_text().replace("</body>", f"<script>{PROBE}</script></body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,9000", f"--user-data-dir={tmp_path}/b"]
    ended = subprocess.run(
        [str(BROWSER), *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    root = ended.stdout[: ended.stdout.index("<head")]
    assert "data-error" not in root and re.search(r'data-drawn="\d+"', root), root
    inked, count = map(int, re.search(r'data-inked="(\d+)/(\d+)"', root).groups())
    assert inked == count > 10
    (said,) = re.findall(r'data-said="([^"]*)"', root)
    content = sweeps.written(60)
    number = int(re.match(r"trial (\d+)", said)[1])
    assert f"optim.lr {content['trials'][number]['settings']['optim.lr']:.4g}" in said
    below = sum(one["settings"]["optim.lr"] <= 1e-4 * 10**1.5 for one in content["trials"])
    (chosen,) = re.findall(r'data-chosen="([^"]*)"', root)
    assert f"{below} of 60 trials chosen" in chosen
