"""A trial in a pool against the same experiment trained alone: the same bits in a queue, the same figures in lanes."""

import json

import pytest
from small import experiment, loop

from jaxnets import config
from jaxnets.admission import admit
from jaxnets.run import run
from jaxnets.sweep.pool import Actions, Pool
from jaxnets.sweep.program import Program
from jaxnets.sweep.stopping import Never, rule
from jaxnets.sweep.trial import Trial

SHORT = {"steps": 9, "log_every": 3, "eval_every": 4, "save_every": 9, "dispatch": "block"}


def trials(base, **columns):
    count = len(next(iter(columns.values())))
    rows = [{path: column[n] for path, column in columns.items()} for n in range(count)]
    return [Trial(n, config.assign(base, [(p, repr(v)) for p, v in row.items()]), row) for n, row in enumerate(rows)]


def trained(base, waiting, *, lanes=0, together=True, stopping=None, look=lambda running: False):
    """{number: Outcome} of these trials in a pool."""
    waiting, found = list(waiting), {}

    def more(count):
        taken, waiting[:] = waiting[:count], waiting[count:]
        return taken

    def done(outcomes):
        found.update({one.trial.number: one for one in outcomes})

    pool = Pool(
        Program(admit(base), lanes=lanes, together=together),
        rule=stopping or Never(),
        judged="loss",
        actions=Actions(more, done, look),
    )
    pool.run()
    return found, pool


def evaluations(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["valid"]) for line in lines if "valid" in line]


def test_a_queue_gives_the_bits_of_train(tmp_path):
    base = experiment(loop=loop(**SHORT))
    found, _ = trained(base, trials(base, **{"optim.lr": [0.01, 0.002], "seed": [3, 4]}))
    for number, (lr, seed) in enumerate(((0.01, 3), (0.002, 4))):
        alone = config.assign(base, [("optim.lr", str(lr)), ("seed", str(seed))])
        result = run(alone, tmp_path / str(number)).figures
        assert found[number].curve == evaluations(tmp_path / str(number))
        assert found[number].state == "complete" and found[number].tested_step == result["tested_step"]
        assert found[number].figures["test"] == pytest.approx(result["test"], abs=1e-6)


def test_lanes_give_its_figures(tmp_path):
    base = experiment(loop=loop(**SHORT))
    some = trials(base, **{"optim.lr": [0.01, 0.002, 0.005], "seed": [3, 4, 5]})
    queue, _ = trained(base, some)
    lanes, _ = trained(base, some, lanes=2)
    for number in range(3):
        for (step, one), (other_step, other) in zip(queue[number].curve, lanes[number].curve, strict=True):
            assert step == other_step and one == pytest.approx(other, rel=1e-4)
        assert queue[number].figures["test"] == pytest.approx(lanes[number].figures["test"], rel=1e-4)


def same(first, second):
    return first.curve == second.curve and first.figures == second.figures


@pytest.mark.parametrize("together", [True, False])
def test_a_lane_that_diverges_leaves_the_others_their_bits(together):
    base = experiment(loop=loop(**SHORT))
    seeds = [1, 2, 3, 4]
    fine, _ = trained(base, trials(base, **{"optim.lr": [0.01] * 4, "seed": seeds}), lanes=4, together=together)
    some = trials(base, **{"optim.lr": [0.01, 1e30, 0.01, 0.01], "seed": seeds})
    found, _ = trained(base, some, lanes=4, together=together)
    assert found[1].state == "failed" and found[1].steps < 9 and "not finite" in found[1].why
    assert all(found[n].state == "complete" and same(found[n], fine[n]) for n in (0, 2, 3))


@pytest.mark.parametrize("together", [True, False])  # else each lane takes its own number of steps
def test_who_is_stopped_is_replaced_and_nothing_is_compiled_again(together):
    """Each trial that is not stopped ends as it would have alone, in whatever lane it began and whenever."""
    base = experiment(loop=loop(**SHORT))
    some = trials(base, **{"optim.lr": [0.01 / (n + 1) for n in range(7)], "seed": list(range(7))})
    alone, _ = trained(base, some, lanes=2, together=together)
    judge = rule("asha", total=9, eta=2, least=2, larger_is_better=False)
    assert judge.rungs == (2, 4)
    found, pool = trained(base, some, lanes=2, together=together, stopping=judge)
    states = [found[n].state for n in range(7)]
    assert states.count("pruned") >= 2 and states.count("complete") >= 1
    for n in range(7):
        if found[n].state == "complete":
            assert same(found[n], alone[n])
        else:
            assert found[n].steps in judge.rungs and not found[n].figures


def test_the_last_trials_move_to_a_smaller_program(monkeypatch):
    monkeypatch.setattr(Program, "compile_seconds", 0.0)
    base = experiment(loop=loop(**SHORT))
    some = trials(base, **{"optim.lr": [0.01, 0.02, 0.003, 0.004, 0.03], "seed": list(range(5))})
    alone, _ = trained(base, some, lanes=4)
    found, waiting, made = {}, list(some), []

    def more(count):
        taken, waiting[:] = waiting[:count], waiting[count:]
        return taken

    def smaller(lanes):
        made.append(lanes)
        return Program(admit(base), lanes=lanes)

    program = Program(admit(base), lanes=4)
    actions = Actions(
        more, lambda done: found.update({o.trial.number: o for o in done}), lambda r: False, smaller=smaller
    )
    Pool(program, rule=Never(), judged="loss", actions=actions).run()
    assert made == [1]
    assert found[4].curve == [(s, pytest.approx(f, rel=1e-4)) for s, f in alone[4].curve]


def test_the_worst_of_a_population_go_on_from_the_best():
    base = experiment(loop=loop(**SHORT | {"steps": 20}))
    some = trials(base, **{"optim.lr": [1e-5, 1e-5, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01], "seed": list(range(8))})
    found, waiting = {}, list(some)

    def more(count):
        taken, waiting[:] = waiting[:count], waiting[count:]
        return taken

    def explore(loser, winner):
        return loser._replace(experiment=winner.experiment, settings=winner.settings)

    actions = Actions(more, lambda done: found.update({o.trial.number: o for o in done}), lambda r: False, explore)
    judge = rule("pbt", total=20, eta=3, least=4, larger_is_better=False)
    Pool(Program(admit(base), lanes=8), rule=judge, judged="loss", actions=actions).run()
    assert len(found) == 8 and all(one.state == "complete" for one in found.values())
    replaced = {n: one.history[0] for n, one in found.items() if one.history}
    assert {0, 1} <= set(replaced) and all(parent not in (0, 1) for _, parent, _ in replaced.values())
    kept = [one.figures["valid"]["loss"] for n, one in trained(base, some[:2], lanes=2)[0].items()]
    assert max(found[n].figures["valid"]["loss"] for n in (0, 1)) < min(kept)


def test_what_look_stops_is_given_back():
    base = experiment(loop=loop(**SHORT))
    some = trials(base, **{"seed": [0, 1, 2]})
    waiting, calls = list(some), []

    def more(count):
        taken, waiting[:] = waiting[:count], waiting[count:]
        return taken

    actions = Actions(more, lambda done: None, lambda running: calls.append(len(running)) or len(calls) == 2)
    left = Pool(Program(admit(base), lanes=2), rule=Never(), judged="loss", actions=actions).run()
    assert [one.number for one in left] == [0, 1] and len(waiting) == 1


def test_lanes_over_devices_are_lanes():
    """On as many devices as there are; with one it is the same program without a mesh."""
    import jax

    base = experiment(loop=loop(**SHORT))
    some = trials(base, **{"optim.lr": [0.01, 0.002, 0.005, 0.02], "seed": [3, 4, 5, 6]})
    one, _ = trained(base, some, lanes=4)
    found = {}
    waiting = list(some)

    def more(count):
        taken, waiting[:] = waiting[:count], waiting[count:]
        return taken

    program = Program(admit(base, devices=jax.devices()[:1]), lanes=4, devices=jax.devices())
    actions = Actions(more, lambda done: found.update({o.trial.number: o for o in done}), lambda r: False)
    Pool(program, rule=Never(), judged="loss", actions=actions).run()
    assert all(found[n].curve == [(s, pytest.approx(f, rel=1e-5)) for s, f in one[n].curve] for n in range(4))
