"""Studies: what is asked and told, resumed, extended, refused; and the searchers behind it."""

import math
import os
import sys

import pytest

from jaxnets.errors import MissingExtra, UsageError
from jaxnets.sweep import draws, search
from jaxnets.sweep.search import SEARCHERS, Objective, Study, Told
from jaxnets.sweep.space import Choice, Int, Log, Range, Uniform, active, text

SPACE = {
    "optim.momentum": Uniform(0, 0.9, when=("optim", "sgd")),
    "optim": Choice("adamw", "sgd"),
    "optim.lr": Log(1e-4, 1e-1),
    "model.depth": Int(2, 64, log=True),
    "data.batch_size": Int(8, 11),
    "model.widths": Choice((64, 64), "128", None),
}
LOSS = Objective("valid.loss", larger_is_better=False)
ACCURACY = Objective("test.accuracy", larger_is_better=True)
LEARN = ("tpe", "cmaes", "nsga2")  # gp needs torch


def opened(folder, **changes):
    arguments = dict(
        storage=folder / "study.journal",
        space=SPACE,
        objectives=[LOSS],
        searcher="random",
        fixed={"loop": {"steps": 9}},
    )
    return Study.open(changes.pop("name", "digits"), **(arguments | changes))


def tell_lr(study, asked):
    return study.tell_all([Told(one.number, "complete", [one.settings["optim.lr"]]) for one in asked])


def in_range(dimension, value):
    if isinstance(dimension, Choice):
        return value in dimension.values
    return dimension.low <= value <= dimension.high and isinstance(value, int if isinstance(dimension, Int) else float)


@pytest.mark.parametrize("searcher", ["random", "quasi", *LEARN])
def test_every_searcher_stays_in_the_space(tmp_path, searcher):
    study = opened(tmp_path, searcher=searcher)
    study.want(40)
    asked = []
    while more := study.ask(7):
        asked += more
        assert all(tell_lr(study, more))
    assert [one.number for one in asked] == list(range(40))
    for _, settings in asked:
        assert set(settings) == {path for path in SPACE if active(SPACE[path], settings)}
        assert all(in_range(SPACE[path], value) for path, value in settings.items())
    assert {one.settings["optim"] for one in asked} == {"adamw", "sgd"}
    assert [(r.number, r.settings, r.values, r.state) for r in study.records()] == [
        (one.number, one.settings, [one.settings["optim.lr"]], "complete") for one in asked
    ]
    assert study.seconds["searcher"] > 0 and study.seconds["storage"] > 0


@pytest.mark.parametrize("searcher", ["random", "quasi", "tpe"])
def test_the_same_seed_draws_the_same_and_another_another(tmp_path, searcher):
    def settings(name, seed):
        study, asked = opened(tmp_path, name=name, searcher=searcher, seed=seed), []
        for _ in range(3):
            asked += study.ask(6)
            tell_lr(study, asked[-6:])
        return [one.settings for one in asked]

    first = settings("a", 1)
    assert first == settings("b", 1) != settings("c", 2)
    assert len({str(one) for one in first}) == len(first)


@pytest.mark.parametrize("searcher", ["random", "quasi"])
def test_batches_and_workers_change_nothing_about_what_is_drawn(tmp_path, searcher):
    whole = opened(tmp_path, name="whole", searcher=searcher).ask(9)
    one, two = (opened(tmp_path, name="parts", searcher=searcher) for _ in range(2))
    assert whole == [*one.ask(2), *two.ask(3), *one.ask(4)]


def test_a_grid_tries_every_combination_once_and_ends(tmp_path):
    space = SPACE | {"optim.lr": Choice(0.1, 0.2), "optim.momentum": Choice(0.5, 0.9, when=("optim", "sgd"))}
    space |= {"model.depth": Int(2, 3), "data.batch_size": Int(8, 8 + 1)}
    one, two = (opened(tmp_path, space=space, searcher="grid") for _ in range(2))
    asked = [*one.ask(5), *two.ask(7), *one.ask(1000)]
    assert len(asked) == (1 + 2) * 2 * 2 * 2 * 3 and not two.ask(1)
    assert one.want(1000) == 1000 and two.wanted == len(asked)  # there are no more, so the sweep is whole
    assert len({str(sorted(one.settings.items())) for one in asked}) == len(asked)


@pytest.mark.parametrize("dimension", [SPACE["optim.lr"], SPACE["model.depth"], Int(-3, 5), Uniform(-1, 1), Range(4)])
def test_draws_cover_a_dimension_evenly_from_end_to_end(dimension):
    values = [draws.value_at(dimension, share / 1000) for share in range(1000)]
    assert all(in_range(dimension, value) for value in values)
    if isinstance(dimension, Choice | Int):
        ends = (dimension.low, dimension.high) if isinstance(dimension, Int) else (0, 3)
        assert values == sorted(values) and (values[0], values[-1]) == ends
    if isinstance(dimension, Log):
        assert sum(value < 10**-2.5 for value in values) == pytest.approx(500, abs=1)


def test_a_study_is_gone_on_with_by_name_and_extended(tmp_path):
    first = opened(tmp_path)
    assert first.wanted is None and first.want(5) == 5
    tell_lr(first, first.ask(10))
    assert first.ask(1) == []
    again = opened(tmp_path)
    assert again.wanted == 5 and again.ask(1) == [] and len(again.records()) == 5
    assert again.want("+3") == 8
    assert [one.number for one in again.ask(10)] == [5, 6, 7]
    assert opened(tmp_path, name="other").want("+2") == 2


def test_what_a_worker_had_when_it_left_waits(tmp_path):
    study = opened(tmp_path)
    study.want(3)
    tell_lr(study, study.ask(3)[:1])
    assert [one.state for one in study.records()] == ["complete", "running", "running"]
    study.close()
    assert [one.state for one in study.records()] == ["complete", "waiting", "waiting"]
    assert [one.number for one in opened(tmp_path).ask(9)] == [1, 2]


def test_a_trial_more_than_wanted_waits_until_it_is(tmp_path, monkeypatch):
    first, second = opened(tmp_path), opened(tmp_path)
    first.want(2)
    monkeypatch.setattr(second, "_trials", lambda: [])  # it looked before the other asked
    assert len(first.ask(2)) == 2 and second.ask(1) == []
    assert len(first.records()) == 2
    first.want("+1")
    assert [one.number for one in first.ask(5)] == [2] and len(first.records()) == 3


@pytest.mark.parametrize("trials", ["0", 0, "-1", "+", "+0", "many"])
def test_a_number_of_trials_that_is_none_is_told(tmp_path, trials):
    with pytest.raises(UsageError, match="trials are not allowed"):
        opened(tmp_path).want(trials)


def test_what_came_of_a_trial_is_counted_once(tmp_path):
    study = opened(tmp_path)
    numbers = [one.number for one in study.ask(5)]
    assert study.tell(numbers[0], "complete", [0.5], {"figures": {"valid": {"loss": 0.5}}, "steps": 9})
    assert not study.tell(numbers[0], "complete", [0.1])
    assert not opened(tmp_path).tell(numbers[0], "failed")
    assert study.tell(numbers[1], "pruned", [0.7], {"steps": 3})
    assert study.tell(numbers[2], "failed", attributes={"why": "not finite at step 3"})
    assert study.tell(numbers[3], "complete", [float("nan")])
    zero, one, two, three, four = opened(tmp_path).records()
    assert (zero.state, zero.values, zero.attributes["steps"]) == ("complete", [0.5], 9)
    assert (one.state, two.state, three.state, four.state) == ("pruned", "failed", "failed", "running")
    assert two.attributes["why"] == "not finite at step 3" and three.attributes["why"] == "valid.loss is not finite"


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_values_are_shared_before_a_trial_ends_and_count_once(tmp_path, storage):
    where = {"storage": f"sqlite:///{tmp_path}/study.db"} if storage == "sqlite" else {}
    first, second = opened(tmp_path, **where), opened(tmp_path, **where)
    assert len(first.ask(4)) == 4 and first.shared(3) == second.shared(3) == {}
    first.share({0: {3: 0.5, 9: 0.25}, 1: {3: float("nan")}, 2: {3: float("inf")}, 3: {3: float("-inf")}})
    assert repr(first.shared(3)) == repr(second.shared(3)) == repr({0: 0.5, 1: math.nan, 2: math.inf, 3: -math.inf})
    assert second.shared(9) == {0: 0.25} and second.shared(1) == {}
    assert first.tell(0, "pruned") and second.shared(9) == {0: 0.25}  # and after its end as well
    first.close()
    assert [one.number for one in second.ask(3)] == [1, 2, 3]  # trained again, by another
    second.share({1: {3: 0.75}})
    assert first.shared(3)[1] == second.shared(3)[1] == 0.75 and len(second.shared(3)) == 4
    assert second.tell(1, "complete", [0.1])
    first.share({0: {3: 8.0}, 1: {3: 8.0}, 2: {3: 0.5}, 77: {3: 8.0}})  # too late, too late, not yet, never its own
    assert (second.shared(3)[0], second.shared(3)[1], second.shared(3)[2]) == (0.5, 0.75, 0.5)


def test_several_objectives(tmp_path):
    both = [LOSS, ACCURACY]
    for searcher in ("random", "quasi", "tpe", "nsga2"):
        study = opened(tmp_path, name=searcher, searcher=searcher, objectives=both)
        for _ in range(3):
            asked = study.ask(6)
            study.tell_all([(one.number, "complete", [one.settings["optim.lr"], 0.5]) for one in asked])
        assert study.records()[-1].values == [asked[-1].settings["optim.lr"], 0.5]
    with pytest.raises(UsageError, match="cmaes takes one objective; with 2 use one of random, quasi, grid, tpe, gp"):
        opened(tmp_path, searcher="cmaes", objectives=both)


OTHERS = {
    "space": ({"space": SPACE | {"optim.lr": Log(1e-3, 1e-1)}}, r"optim.lr: log\(0.0001,0.1\) is there, log\(0.001"),
    "objectives": ({"objectives": [Objective("test.loss", False)]}, "valid.loss.* is there"),
    "fixed": ({"fixed": {"loop": {"steps": 10}}}, "loop.steps: 9 is there, 10 is given"),
}


@pytest.mark.parametrize("part", OTHERS)
def test_another_study_under_the_same_name_is_refused_unless_allowed(tmp_path, part):
    changes, said = OTHERS[part]
    tell_lr(first := opened(tmp_path), first.ask(3))
    with pytest.raises(UsageError, match=f"{said}.*or --allow {part}$"):
        opened(tmp_path, **changes)
    other = opened(tmp_path, **changes, allow=[part])
    assert [one.number for one in other.ask(2)] == [3, 4] and len(other.records()) == 5
    opened(tmp_path, **changes)
    with pytest.raises(UsageError, match="has another"):
        opened(tmp_path)


def test_all_that_differs_is_told_at_once(tmp_path):
    opened(tmp_path)
    with pytest.raises(UsageError, match="another space .* and another base config .*--allow space fixed$"):
        opened(tmp_path, space={"seed": Range(3)}, fixed={"loop": {"steps": 10}})


def test_another_direction_is_refused(tmp_path):
    opened(tmp_path)
    with pytest.raises(UsageError, match=r"better is: smaller; given are test.accuracy \(larger\)"):
        opened(tmp_path, objectives=[ACCURACY], allow=["objectives"])


@pytest.mark.parametrize("searcher", ["tpe", "cmaes", "random"])
def test_a_narrowed_space_is_searched_where_it_is(tmp_path, searcher):
    first = opened(tmp_path, searcher=searcher)
    tell_lr(first, first.ask(12))
    narrow = {"optim": Choice("adamw"), "optim.lr": Log(1e-3, 2e-3), "model.depth": Int(2, 3), "seed": Range(3)}
    second = opened(tmp_path, searcher=searcher, space=narrow, allow=["space"])
    asked = second.ask(12)
    assert all(set(one.settings) == set(narrow) for one in asked)
    assert all(in_range(narrow[path], value) for one in asked for path, value in one.settings.items())
    records = second.records()
    assert [one.settings for one in records[12:]] == [one.settings for one in asked]
    assert all(set(one.settings) <= set(SPACE) for one in records[:12])
    third = opened(tmp_path, searcher=searcher, allow=["space"])
    tell_lr(third, third.ask(2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"searcher": "tpee"}, "perhaps you meant tpe"),
        ({"objectives": []}, "no objective"),
        ({"searcher": "grid"}, "optim.momentum=uniform.* has no end of values"),
        ({"searcher": "grid", "space": {"a": Int(1, 2000), "b": Int(1, 2000)}}, "4000000 points"),
        ({"searcher": "cmaes", "space": {"optim.lr": Log(1e-3, 1), "seed": Range(3)}}, "two numbers.*use tpe"),
    ],
)
def test_what_a_searcher_cannot_do_is_told_before_anything_is_written(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        opened(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "searcher", "said"),
    [("optuna", "random", r"jaxnets\[sweep\]"), ("torch", "gp", r"jaxnets\[gp\]"), ("cmaes", "cmaes", r"\[sweep\]")],
)
def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, package, searcher, said):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=said):
        opened(tmp_path, searcher=searcher)


def test_a_batch_is_one_write(tmp_path, monkeypatch):
    study = opened(tmp_path, searcher="tpe")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file, real=os.fsync: (synced.append(file), real(file)))
    asked = study.ask(20)
    tell_lr(study, asked)
    assert len(asked) == 20 and len(synced) == 2


def test_a_batch_that_takes_long_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_HELD_SECONDS", 0.0)
    study = opened(tmp_path)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file, real=os.fsync: (synced.append(file), real(file)))
    assert [one.number for one in study.ask(5)] == [0, 1, 2, 3, 4] and len(synced) == 5


def test_all_searchers_are_known_to_the_check():
    for searcher in SEARCHERS:
        if searcher != "gp":
            search.check_searcher(searcher, {"a": Int(1, 2), "b": Int(1, 2)}, [LOSS])
    assert text(SPACE["model.depth"]) == "int(2,64,log)"
