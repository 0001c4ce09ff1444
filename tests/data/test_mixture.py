"""Mixtures: each source has its share of the stream and its own epochs; one schema, fitted on all; all named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets import predict
from jaxnets.config import Experiment
from jaxnets.data import Data, Groups, Mixture, from_arrays, load, order, orders, training_stream
from jaxnets.data.order import CYCLE
from jaxnets.errors import ConfigError, DataError
from jaxnets.inspection import check
from jaxnets.loop import Loop
from jaxnets.models import MLP
from jaxnets.run import run

DRAW = np.random.default_rng(1)
A, B = (DRAW.normal(mean, std, (n, 3)) for mean, std, n in ((0, 1, 40), (5, 3, 90)))


@pytest.fixture
def two():
    sources = [from_arrays(x=x, y=(np.arange(len(x)) % 2), name=name) for x, name in ((A, "a"), (B, "b"))]
    return f"mixture:1*{sources[0]} + 3*{sources[1]}"


@settings(deadline=None, max_examples=10)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=4), seed=st.integers(0, 9),
    first=st.sampled_from([0, 5, 63, 585]), batch=st.sampled_from([7, 64]), grouped=st.booleans(),
)  # fmt: skip
def test_a_batch_of_a_mixture_depends_on_its_number_alone(sizes, seed, first, batch, grouped):
    groups = [Groups(np.ones(n, int), 3) if grouped else None for n in sizes]
    mixture = Mixture(tuple(sizes), tuple(float(i + 1) for i in range(len(sizes))), tuple(groups))
    how = {"batch_size": batch, "length": sum(sizes), "groups": mixture}
    whole = orders(seed, 0, first + 20, **how)
    np.testing.assert_array_equal(orders(seed, first, 20, **how), whole[first:])
    np.testing.assert_array_equal(order(seed, first + 3, **how), whole[first + 3])
    source = np.searchsorted(np.cumsum(sizes), whole.ravel(), side="right")
    for number, size in enumerate(sizes):  # its own epochs, one after the other
        own = whole.ravel()[source == number] - sum(sizes[:number])
        for begin in range(0, len(own) - size + 1, size):
            assert sorted(own[begin : begin + size]) == list(range(size))


def test_shares_are_exact_in_every_cycle_whatever_the_sizes():
    mixture = Mixture((1000, 10, 50), (0.7, 0.2, 0.1), (None, None, None))
    ids = orders(0, 0, 3, batch_size=CYCLE, length=1060, groups=mixture)
    counts = np.stack([np.histogram(row, [0, 1000, 1010, 1060])[0] for row in ids])
    assert (np.abs(counts / CYCLE - (0.7, 0.2, 0.1)) < 1 / 1000).all() and (counts == counts[0]).all()
    assert not np.array_equal(ids[0], ids[1])
    assert Mixture((9, 9), (1.0, 1e9), (None, None)).quotas.tolist() == [1, CYCLE - 1]


def test_a_mixture_is_one_source(two):
    dataset = load(Data(source=two, batch_size=16))
    check(dataset, batch_size=16)
    assert dict(dataset.schema.counts) == {"train": 91, "valid": 13, "test": 26}
    parts = [load(Data(source=s.partition("*")[2])).schema for s in two.removeprefix("mixture:").split(" + ")]
    draws = [DRAW.normal(np.array(s.input_mean), np.array(s.input_std), (400_000, 3)) for s in parts]
    pooled = np.concatenate([draws[0][:100_000], draws[1][:300_000]])  # one to three
    np.testing.assert_allclose(dataset.schema.input_mean, pooled.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(dataset.schema.input_std, pooled.std(axis=0), atol=0.03)
    part = dataset.splits["test"]
    assert "a-" in part.where(7) and "b-" in part.where(8)
    assert load(Data(source=two.replace("1*", "2*"))).schema.fingerprint != dataset.schema.fingerprint
    with training_stream(dataset.splits["train"], seed=0, batch_size=CYCLE, workers=0) as stream:
        targets = stream([0])[0]
    assert (targets["id"] < 28).mean() == pytest.approx(0.25, abs=1e-3)


def test_windows_never_span_two_texts(tmp_path):
    for name, letter in (("a", b"a"), ("b", b"b")):
        (tmp_path / f"{name}.txt").write_bytes(letter * 400)
    source = f"mixture:1*text:{tmp_path}/a.txt + 1*text:{tmp_path}/b.txt"
    dataset = load(Data(source=source, context=8, batch_size=16))
    check(dataset, batch_size=16)
    with training_stream(dataset.splits["train"], seed=0, batch_size=64, workers=2) as stream:
        inputs = np.concatenate([batch["inputs"] for batch in stream(range(64))])
    assert inputs.shape == (4096, 9) and (inputs == inputs[:, :1]).all()
    assert (inputs[:, 0] == ord("a")).mean() == 0.5


@pytest.mark.parametrize(
    "words",
    ["a", "0.5*wine", "0.5*wine + 0.5*wine", "x*wine + 1*digits", "0*wine + 1*digits", "1*wine + 1*mixture:1*a + 1*b",
     "1*wine + ", "1*wine + 9999999*digits", "inf*wine + 1*digits"],
)  # fmt: skip
def test_words_that_are_no_mixture(words):
    with pytest.raises(ConfigError, match=r"data.source mixture:.*(give|must name|must have)"):
        load(Data(source=f"mixture:{words}"))


def test_sources_that_do_not_agree(tmp_path):
    with pytest.raises(DataError, match=r"digits does not agree with wine: input_kind image against row"):
        load(Data(source="mixture:1*wine + 1*digits"))
    (tmp_path / "a.csv").write_text("value,goal\n1.5,x\n2.5,y\n")
    (tmp_path / "b.csv").write_text("values,goal\n1.5,x\n2.5,y\n")
    with pytest.raises(DataError, match=r"b.csv has other columns than a.csv: value, values; make them equal"):
        load(Data(source=f"mixture:1*table:{tmp_path}/a.csv + 1*table:{tmp_path}/b.csv", target="goal"))
    with pytest.raises(ConfigError, match=r"holds .*a.csv more than once; name each file once"):
        load(Data(source=f"mixture:1*table:{tmp_path}/a.csv + 1*table:{tmp_path}/a*.csv", target="goal"))


@pytest.fixture
def tables(tmp_path):
    """Two tables of the same columns in another order; only the second knows a third class and a blue colour."""
    draw = np.random.default_rng(2)
    for name, rows, columns in (("a", 50, ("x", "colour", "goal")), ("b", 150, ("goal", "x", "colour"))):
        x, colours = draw.normal(3 * (name == "b"), size=rows), ["red", "green", "blue"][: 2 + (name == "b")]
        cells = {"x": x.round(4), "colour": draw.choice(colours, rows), "goal": np.arange(rows) % (2 + (name == "b"))}
        lines = [",".join(str(cells[column][row]) for column in columns) for row in range(rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join(columns), *lines]))
    return tmp_path


def test_tables_are_fitted_to_the_train_rows_of_all(tables):
    """As one table of both would be, if the same rows were in the same splits."""
    mixed = load(Data(source=f"mixture:1*table:{tables}/a.csv + 1*table:{tables}/b.csv", target="goal", batch_size=8))
    check(mixed, batch_size=8)
    assert mixed.schema.classes == ("0", "1", "2") and dict(mixed.schema.counts)["test"] == 10 + 30
    where = {name: [part.where(i) for i in range(part.length)] for name, part in mixed.splits.items()}
    assert where["train"][0].startswith("a.csv, row") and where["train"][-1].startswith("b.csv, row")
    kinds = {place: name for name, places in where.items() for place in places}
    (tables / "both").mkdir()
    lines = [f"split,{(tables / 'a.csv').read_text().splitlines()[0]}"]
    for name, columns in (("a", [0, 1, 2]), ("b", [1, 2, 0])):
        for row, line in enumerate((tables / f"{name}.csv").read_text().splitlines()[1:]):
            lines.append(",".join([kinds[f"{name}.csv, row {row}"], *(line.split(",")[i] for i in columns)]))
    (tables / "both" / "t.csv").write_text("\n".join(lines))
    both = load(Data(source=f"table:{tables}/both/t.csv", target="goal", split_by="column:split", batch_size=8))
    assert mixed.schema.columns == tuple(one for one in both.schema.columns if one.name != "split")
    for split in ("train", "valid", "test"):
        mine, other = mixed.splits[split].arrays, both.splits[split].arrays
        np.testing.assert_array_equal(mine["targets"], other["targets"])
        for name in mine["inputs"]:
            np.testing.assert_array_equal(mine["inputs"][name], other["inputs"][name])
    with training_stream(mixed.splits["train"], seed=0, batch_size=CYCLE, workers=0) as stream:
        ids = stream([0])[0]["id"]
    assert (ids < sum(place.startswith("a") for place in where["train"])).mean() == 0.5


def test_tables_of_a_mixture_are_trained_on_and_their_rows_predicted(tables):
    source = f"mixture:3*table:{tables}/a.csv + 1*table:{tables}/b.csv"
    experiment = Experiment(
        data=Data(source=source, target="goal", batch_size=8), model=MLP(widths=(4,)), loop=Loop(steps=4)
    )
    run(experiment, tables / "run")
    assert predict(tables / "run", [{"x": 1.0, "colour": "blue"}])["probabilities"].shape == (1, 3)
