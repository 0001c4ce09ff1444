"""Time series: windows against a plain reading, parts that time divides, what is fitted, tables that are refused."""

import dataclasses
import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnets
from jaxnets import evaluate
from jaxnets.data import Data, Schema, Series, fits_on_device, gather, load, order, training_stream
from jaxnets.errors import ConfigError, DataError, MissingExtra
from jaxnets.inspection import check
from jaxnets.models import TSMixer
from jaxnets.optim import AdamW
from jaxnets.predictions import predict_files
from jaxnets.run import run
from jaxnets.tasks import Forecasting

DAYS = np.datetime64("2024-01-01") + np.arange(60)


def write(path, rows, header="time,y"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def daily(values, first=0):
    return list(zip(DAYS[first:], values, strict=False))


def config(path, **more):
    series = {"time": "time", "horizon": 2} | more.pop("series", {})
    more = {"target": "y", "context": 4, "batch_size": 6, "valid": 0.2, "test": 0.2} | more
    return Data(source=f"series:{path}", series=Series(**series), **more)


def shops(path, lengths, seed=0, noise=True):
    """Two series with two targets and a column that is known ahead, interleaved by day: {name: (n, 3)}."""
    draw = np.random.default_rng(seed)
    names = [f"shop{i}" for i in range(len(lengths))]
    series = {name: np.round(draw.normal(size=(n, 3)) * 5 + 20, 3) for name, n in zip(names, lengths, strict=True)}
    rows = [
        (DAYS[day], name, *series[name][day])
        for day in range(max(lengths))
        for name in names
        if day < len(series[name])
    ]
    write(path, rows, "date,shop,sales,visits,price")
    return series


SHOPS = {"time": "date", "id": "shop", "future": ("price",)}


@settings(deadline=None, max_examples=15)
@given(
    lengths=st.lists(st.integers(8, 40), min_size=1, max_size=3), context=st.integers(1, 5), horizon=st.integers(1, 3),
    start=st.integers(0, 9), processes=st.sampled_from([1, 2, 3]),
)  # fmt: skip
def test_windows_are_those_of_a_plain_reading_whoever_reads_them_and_from_any_step_on(
    tmp_path_factory, lengths, context, horizon, start, processes
):
    path = tmp_path_factory.mktemp("series") / "shops.csv"
    lengths[0] = 40
    series = shops(path, lengths)
    dataset = load(config(path, target="sales,visits", context=context, series=SHOPS | {"horizon": horizon}))
    first = {"train": 0, "valid": 24, "test": 32}  # of 40 days
    last = {"train": 24, "valid": 32, "test": 40}
    for name, split in dataset.splits.items():
        expected = []
        for number, values in enumerate(series.values()):
            for at in range(max(first[name], context), min(last[name], len(values)) - horizon + 1):
                expected.append((values[at - context : at + horizon], number))
        assert split.length == len(expected)
        if name != "train" or not expected:
            continue
        for batch in (start, start + 1):
            ids = order(3, batch, batch_size=6, length=split.length)
            parts = []
            for index in range(processes):
                how = {"seed": 3, "batch_size": 6, "workers": 2, "index": index, "count": processes}
                with training_stream(split, **how) as stream:
                    parts.append(stream([batch])[0])
            found = {key: np.concatenate([part["inputs"][key] for part in parts]) for key in parts[0]["inputs"]}
            whole = np.stack([expected[i][0] for i in ids]).astype("f4")
            np.testing.assert_array_equal(found["past"], whole[:, :context, :2])
            np.testing.assert_array_equal(found["future"], whole[:, :, 2:])
            np.testing.assert_array_equal(found["series"], [expected[i][1] for i in ids])
            np.testing.assert_array_equal(np.concatenate([p["targets"] for p in parts]), whole[:, context:, :2])


def test_parts_begin_where_the_config_says_and_windows_stand_on_the_device_as_on_the_host(tmp_path):
    import jax

    path = write(tmp_path / "a.csv", daily(range(60)))
    dated = load(config(path, series={"valid_from": "2024-02-01", "test_from": "2024-02-10"}))
    for name, (low, high) in {"train": (4, 31), "valid": (31, 40), "test": (40, 60)}.items():
        batch = gather(dated.splits[name].arrays, np.arange(dated.splits[name].length), window=None)
        assert (batch["targets"].min(), batch["targets"].max()) == (low, high - 1)
        np.testing.assert_array_equal(batch["inputs"]["past"][:, -1] + 1, batch["targets"][:, 0])
    assert dated.splits["test"].where(0) == "a.csv, row 40"
    train = dated.splits["train"]
    assert fits_on_device(config(path), train)
    ids = np.array([3, 0, 7], np.int32)
    there = jax.jit(lambda arrays, ids: gather(arrays, ids, window=None))(train.arrays, ids)
    for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(gather(train.arrays, ids, window=None)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert Schema.from_json(json.loads(json.dumps(dated.schema.to_json()))) == dated.schema


def test_everything_is_fitted_on_the_train_part_alone(tmp_path):
    values = np.arange(60.0) % 7
    clean = load(config(write(tmp_path / "a.csv", daily(values)), series={"season": 3}))
    values[40:] = 1e9
    planted = load(config(write(tmp_path / "b.csv", daily(values)), series={"season": 3}))
    names = ("target_mean", "target_std", "series", "counts", "input_mean", "input_std")
    assert [getattr(clean.schema, name) for name in names] == [getattr(planted.schema, name) for name in names]
    train = (np.arange(60.0) % 7)[:36]
    assert clean.schema.target_mean == pytest.approx((train.mean(),))
    assert clean.schema.target_std == pytest.approx((train.std(),))
    assert clean.schema.series.naive_errors == pytest.approx((np.abs(train[3:] - train[:-3]).mean(),))


BAD = {
    "out of order": ([*daily([1, 2, 3]), (DAYS[1], 4)], "row 3: 2024-01-02 follows 2024-01-03; sort the rows"),
    "double": ([*daily([1, 2]), (DAYS[1], 4)], "row 2: 2024-01-02 stands there a second time"),
    "gap": ([*daily([1, 2, 3]), (DAYS[5], 4)], "row 3: 2024-01-06 follows 2024-01-03, 2 steps later than it would"),
    "uneven": ([*daily([1, 2, 3]), ("2024-01-04T07:00:00", 4)], "row 3: 2024-01-04T07:00:00 is no whole number of"),
    "no date": ([*daily([1, 2]), ("soon", 3)], "row 2, column time: 'soon' is not a date"),
    "no time": ([*daily([1, 2]), ("", 3)], "row 2, column time: the time is missing"),
    "no number": ([*daily([1, 2]), (DAYS[2], "many")], "row 2, column y: 'many' is not a number"),
    "infinite": ([*daily([1, 2]), (DAYS[2], "inf")], "row 2, column y: inf is not a finite number"),
    "missing": ([*daily([1, 2]), (DAYS[2], ""), (DAYS[3], 4)], "row 2: y is missing at 2024-01-03.*carry"),
    "short": (daily(range(8)), r"no window of 4 \+ 2 steps fits into a train part of 4"),
    "no rows": ([], "holds no rows"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_table_is_named_by_file_and_row(what, tmp_path):
    rows, words = BAD[what]
    path = write(tmp_path / "a.csv", rows)
    with pytest.raises(DataError, match=words):
        load(config(path))


def test_a_config_that_does_not_fit_the_table_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", daily(range(60)))
    cases = [
        ({"target": None}, "name the columns that are forecast"),
        ({"target": "z"}, "data.target 'z' is no column of series:.*it has time, y"),
        ({"series": {"time": "tim"}}, "data.series.time 'tim' is no column .*perhaps you meant time"),
        ({"series": {"future": ("y",)}}, "data.series.future 'y' is data.target already"),
        ({"context": None}, "data.context is none; give the steps"),
        ({"folds": 3}, "data.folds 3: .* is split by time"),
        ({"series": {"test_from": "then"}}, "data.series.test_from 'then' is not a date"),
        ({"series": {"valid_from": "2024-02-20", "test_from": "2024-02-10"}}, "validated from 2024-02-20 and tested"),
    ]
    for more, words in cases:
        with pytest.raises(ConfigError, match=words):
            load(config(path, **more))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "jaxnets\[series\]"'):
        load(config("sea_temperature"))


def test_a_sensor_that_drifts_comes_onto_the_grid_and_each_time_once(tmp_path, monkeypatch):
    """What glucose is made of: rows some minutes off, one of them five minutes after the clock was set, and a gap."""
    rows = ["09:51,258", "09:56,260", "09:59,999", "10:01,262", "10:21,270"]
    (tmp_path / "package" / "_data").mkdir(parents=True)
    with gzip.open(tmp_path / "package" / "_data" / "CGM.csv.gz", "wt") as file:
        file.write("isig,datetime,glucose\n")
        file.writelines(f"22.5,2010-03-24 {time}:00,{value}\n" for time, value in (row.split(",") for row in rows))
    origin = SimpleNamespace(origin=str(tmp_path / "package" / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: origin)
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path / "cache"))
    found = load(
        config("glucose", target="glucose", context=1, valid=0, test=0.15, series={"horizon": 1, "gaps": "fill"})
    )
    batch = gather(found.splits["train"].arrays, np.arange(found.splits["train"].length), window=None)
    assert batch["targets"].ravel().tolist() == [260, 262]  # of 10:05 to 10:15 nothing is known
    assert gather(found.splits["test"].arrays, np.arange(1), window=None)["targets"].ravel().tolist() == [270]


def test_missing_values_and_steps_are_carried_on_and_are_no_targets(tmp_path):
    rows = daily([float(i) for i in range(60)])
    rows[10] = (DAYS[10], "")
    del rows[20:22]
    path = write(tmp_path / "a.csv", rows)
    filled = load(config(path, series={"missing": "carry", "gaps": "fill"}))
    batch = gather(filled.splits["train"].arrays, np.arange(filled.splits["train"].length), window=None)
    seen, targets = {}, {}
    for first, (past, later) in enumerate(zip(batch["inputs"]["past"][..., 0], batch["targets"][..., 0], strict=True)):
        if first < 16:  # two steps from 20 on have no target at all, so that no window begins to forecast there
            seen |= {first + i: value for i, value in enumerate(past)}
            targets |= {first + 4 + i: value for i, value in enumerate(later)}
    assert seen[9] == seen[10] == 9 and seen[11] == 11
    assert np.isnan(targets[10]) and targets[9] == 9
    assert filled.splits["train"].length == 36 - 5 - 1
    ignored = load(config(path, series={"missing": "carry", "gaps": "ignore"}))
    train = ignored.splits["train"]
    past = gather(train.arrays, np.arange(train.length), window=None)["inputs"]["past"]
    assert [19, 22, 23, 24] in past[..., 0].tolist()
    assert check(filled, batch_size=4) is None


def test_months_quarters_and_numbers_are_even_steps(tmp_path):
    months = np.arange("2020-01", "2024-01", dtype="datetime64[M]")
    firsts, lasts = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]") - 1
    for times in (
        firsts,
        lasts,
        firsts[::3],
        [str(t) + "T12:30" for t in firsts],
        range(1900, 1948),
        firsts.astype("M8[ms]"),
    ):
        path = write(tmp_path / "a.csv", zip(times, range(48), strict=False))
        assert load(config(path, context=2, series={"horizon": 1})).splits["train"].length > 0
    with pytest.raises(DataError, match="row 5: 2020-07-01 follows 2020-05-01, 1 step later"):
        load(config(write(tmp_path / "a.csv", zip(np.delete(firsts, 5), range(47), strict=True))))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small mixer over two shops, trained for a few steps: (run folder, source, series)."""
    folder = tmp_path_factory.mktemp("trained")
    series = shops(folder / "shops.csv", [40, 40])
    experiment = small.experiment(
        data=config(folder / "shops.csv", target="sales,visits", series=SHOPS | {"season": 7}),
        model=TSMixer(width=8, depth=1, mlp_width=8, dropout=0.1),
        task=Forecasting(quantiles=(0.1, 0.5, 0.9)),
        optim=AdamW(lr=1e-2),
        loop=small.loop(steps=12, log_every=4, eval_every=6, save_every=6, monitor="mase"),
    )
    run(experiment, folder / "run")
    return folder / "run", experiment, series


def test_a_run_writes_figures_that_its_own_predictions_give(trained):
    folder, experiment, series = trained
    found = json.loads((folder / "result.json").read_text())["test"]
    table = np.load(folder / "evaluation.npz")
    error = np.abs(table["forecast"] - table["target"])
    assert found["mae"] == pytest.approx(error.mean(), rel=1e-5)
    train = np.stack([values[:24, :2] for values in series.values()])
    naive = np.abs(train[:, 7:] - train[:, :-7]).mean(axis=1)  # series, targets
    number = np.arange(len(error)) // (len(error) // 2)
    assert found["mase"] == pytest.approx((error / naive[number][:, None]).mean(), rel=1e-5)
    assert {"crps", "coverage", "rmse"} <= set(found)
    assert "absolute error by step" in (folder / "report.html").read_text()


def test_prediction_from_a_table_is_what_the_test_saw(trained, tmp_path, capsys):
    folder, experiment, series = trained
    table, schema = np.load(folder / "evaluation.npz"), evaluate.open_run(folder).schema
    rows = [
        (DAYS[day], name, *(values[day, :2] if day < 38 else ("", "")), values[day, 2])
        for name, values in series.items()
        for day in range(30, 40)
    ]
    path = write(tmp_path / "now.csv", rows, "date,shop,sales,visits,price")
    inputs = evaluate.raw_inputs(write_table(rows), schema)
    split = load(experiment.data).splits["test"]
    last = np.array([split.length // 2 - 1, split.length - 1])
    expected = gather(split.arrays, last, window=None)["inputs"]
    for name, array in expected.items():
        np.testing.assert_array_equal(inputs[name], array)
    said = jaxnets.predict(folder, inputs)
    np.testing.assert_allclose(said["forecast"], table["forecast"][last], rtol=1e-5)
    predict_files(folder, [path])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["series"], line["step"]) for line in lines] == [
        ("shop0", 1),
        ("shop0", 2),
        ("shop1", 1),
        ("shop1", 2),
    ]
    assert lines[3]["visits"] == pytest.approx(said["forecast"][1, 1, 1], rel=1e-6)
    for changed, words in ((rows[:9], "shop0 has 1 rows behind the last target"), (rows[5:8], "ends after 3 steps")):
        with pytest.raises(DataError, match=words):
            evaluate.raw_inputs(write_table(changed), schema)
    with pytest.raises(DataError, match="series shop9 was not trained on; perhaps you meant shop"):
        evaluate.raw_inputs(write_table([(row[0], "shop9", *row[2:]) for row in rows[:10]]), schema)


def write_table(rows):
    """Rows as dicts."""
    names = ("date", "shop", "sales", "visits", "price")
    return [
        dict(zip(names, (str(row[0]), row[1], *(None if v == "" else v for v in row[2:])), strict=True)) for row in rows
    ]


def test_models_and_tasks_that_do_not_forecast_are_refused(trained, tmp_path):
    from jaxnets.admission import admit_data
    from jaxnets.models import CNN, PatchTST
    from jaxnets.tasks import Regression

    _, experiment, _ = trained
    cases = [
        ({"model": CNN()}, "model cnn takes images"),
        ({"model": PatchTST(patch=2, stride=1)}, "patchtst sees no columns that are known ahead.*price"),
        ({"task": Regression()}, "task regression does not fit .*use forecasting"),
        (
            {"data": Data(source="wine", batch_size=16), "task": small.experiment().task},
            "tsmixer takes windows of time series",
        ),
        ({"task": Forecasting(quantiles=(0.9, 0.1))}, "task.quantiles .* do not rise"),
    ]
    for changes, words in cases:
        with pytest.raises(ConfigError, match=words):
            admit_data(dataclasses.replace(experiment, **changes))
