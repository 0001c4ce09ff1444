"""Workers die at any time: what the storage holds is whole, and each trial is some worker's, once."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from jaxnets.errors import CheckpointError, UsageError
from jaxnets.sweep import journal, workers
from jaxnets.sweep.claims import ALONE, TOGETHER, Claims
from jaxnets.sweep.journal import Journal
from jaxnets.sweep.search import Objective, Study, Told
from jaxnets.sweep.space import Log, Range

SPACE = {"optim.lr": Log(1e-4, 1e-1), "seed": Range(5)}


def opened(where, **changes):
    arguments = dict(space=SPACE, objectives=[Objective("valid.loss", False)], searcher="random", fixed={})
    return Study.open("study", **(arguments | {"storage": where} | changes))


def tell(study, asked):
    return study.tell_all([Told(one.number, "complete", [one.settings["optim.lr"]]) for one in asked])


def forked(work, *arguments):
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def killed(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def ask_and_hang(where, count, asked):
    for one in opened(where).ask(count):
        asked.put(one)
    time.sleep(60)


def work_slowly(where):
    study = opened(where)
    while asked := study.ask(2):
        time.sleep(0.02)
        tell(study, asked)


def whole_lines(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_trials_of_a_killed_worker_are_asked_again_with_their_number_and_settings_and_counted_once(tmp_path):
    where = tmp_path / "study.journal"
    study = opened(where)
    study.want(5)
    mine = study.ask(1)
    asked = multiprocessing.get_context("fork").Queue()
    process = forked(ask_and_hang, where, 3, asked)
    theirs = [asked.get(timeout=60) for _ in range(3)]
    assert [one.number for one in study.ask(9)] == [4]  # it lives: what it has is its own
    killed(process)
    again = study.ask(9)
    assert again == theirs and study.ask(1) == []
    assert all(tell(study, [*mine, *again])) and len(study.records()) == 5
    assert sum(record.state == "complete" for record in opened(where).records()) == 4


def test_a_sweep_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    where = tmp_path / "study.journal"
    opened(where).want(24)
    for moment in (0.02, 0.05, 0.08, 0.11):
        process = forked(work_slowly, where)
        time.sleep(moment)
        killed(process)
    work_slowly(where)
    records = opened(where).records()
    assert [(one.number, one.state) for one in records] == [(number, "complete") for number in range(24)]
    undisturbed = opened(tmp_path / "other.journal").ask(24)
    assert [one.settings for one in records] == [one.settings for one in undisturbed]


def test_a_worker_killed_within_its_write_leaves_a_storage_that_others_go_on_with_at_once(tmp_path):
    where = tmp_path / "study.journal"
    study = opened(where)

    def die_within_the_write():
        doomed, write = opened(where), os.write

        def half(file, content):
            if content.startswith(b'{"op_code":4'):  # a trial that is made
                write(file, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return write(file, content)

        os.write = half
        doomed.ask(1)

    process = forked(die_within_the_write)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not where.read_bytes().endswith(b"\n") and where.with_suffix(".journal.lock").exists()
    begin = time.monotonic()
    assert [(record.number, record.state) for record in opened(where).records()] == [(0, "running")]
    assert study.ask(2) == opened(tmp_path / "other.journal").ask(2)
    assert time.monotonic() - begin < journal.GRACE / 2
    assert whole_lines(where) and not where.with_suffix(".journal.lock").exists()


def test_a_last_line_cut_at_any_byte_is_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    where = tmp_path / "study.journal"
    study = opened(where)
    tell(study, study.ask(1))
    content = where.read_bytes()
    start = content[:-1].rfind(b"\n") + 1
    for cut in range(start, len(content)):
        where.write_bytes(content[:cut])
        log = Journal(where)
        before = list(log.read_logs(0))
        assert before == [json.loads(line) for line in content[:start].split(b"\n")[:-1]]
        log.append_logs([{"op_code": 99}])
        assert whole_lines(where) == [*before, {"op_code": 99}] == list(Journal(where).read_logs(0))
        assert list(log.read_logs(len(before))) == [{"op_code": 99}]
    where.write_bytes(content[: start + 9])
    assert [record.state for record in opened(where).records()] == ["running"]


@pytest.mark.parametrize("line", [b"{nonsense", b"[1, 2]", b"{}", b"\xbe"])
def test_a_line_that_is_damaged_within_the_file_is_named(tmp_path, line):
    where = tmp_path / "study.journal"
    opened(where)
    content = where.read_bytes()
    where.write_bytes(line + b"\n" + content)
    with pytest.raises(CheckpointError, match=r"line 1 of .*study.journal is damaged"):
        opened(where)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    where = tmp_path / "study.journal"
    study = opened(where)
    content, write = where.read_bytes(), os.write

    def full(file, data):
        if not data.startswith(b'{"op_code"'):
            return write(file, data)
        write(file, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CheckpointError, match="No space left on device.*make room"):
        study.ask(1)
    monkeypatch.undo()
    assert where.read_bytes() == content
    assert [one.number for one in opened(where).ask(1)] == [0]


def test_two_live_workers_never_get_the_same_trial(tmp_path):
    where = tmp_path / "study.journal"
    opened(where).want(60)
    queue, barrier = multiprocessing.get_context("fork").Queue(), multiprocessing.get_context("fork").Barrier(2)

    def work(name):
        study, mine = opened(where), []
        barrier.wait(60)
        while asked := study.ask(3):
            mine += asked
            time.sleep(0.02)  # it trains, and the other may ask
            tell(study, asked)
        queue.put((name, [one.number for one in mine]))

    processes = [forked(work, name) for name in "ab"]
    got = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert sorted(got["a"] + got["b"]) == list(range(60)) and got["a"] and got["b"]
    assert [record.state for record in opened(where).records()] == ["complete"] * 60


@pytest.mark.parametrize("storage", ["{}/study.journal", "sqlite:///{}/study.db"])
def test_of_those_that_find_a_dead_worker_one_goes_on_with_its_trial(tmp_path, storage, monkeypatch):
    where = storage.format(tmp_path)
    gone = opened(where)
    gone.want(3)
    lost = gone.ask(2)
    first, second = opened(where), opened(where)
    assert len(first.ask(9)) == 1
    gone.close()
    # Both have seen that it is gone before either claims.
    stale = second._orphans(second._trials())
    claimed = first.ask(9)
    assert claimed == lost and len(stale) == 2
    assert not any(second._claims.add(one.trial.number, one.claim, second.worker) for one in stale)
    assert second.ask(9) == []
    first.close()
    assert [one.number for one in second.ask(9)] == [0, 1, 2]  # twice orphaned, and one of its own
    assert len(second.records()) == 3


def lose_workers(where, moment, *, most=60):
    """Starts workers, of which each is lost when `moment(numbers, has it one alone?)`; how many, until one is whole."""

    def work():
        study = opened(where)
        while asked := study.ask(4):
            numbers = [one.number for one in asked]
            study.begin(numbers)
            if moment(numbers, study.alone is not None):
                os.kill(os.getpid(), signal.SIGKILL)
            tell(study, asked)

    for count in range(most):
        process = forked(work)
        process.join()
        if process.exitcode == 0:
            return count
    raise AssertionError(f"{most} workers were lost")


def test_a_trial_that_ends_its_workers_fails_and_nothing_else_does(tmp_path):
    where = tmp_path / "study.journal"
    opened(where).want(10)
    lost = lose_workers(where, lambda numbers, alone: 2 in numbers)
    assert lost == 1 + TOGETHER + ALONE  # the first one's word is not asked for
    records = opened(where).records()
    assert [one.number for one in records if one.state != "complete"] == [2]
    assert records[2].state == "failed" and "3 workers were lost" in records[2].attributes["why"]


def test_who_kills_a_sweep_again_and_again_makes_no_trial_fail(tmp_path):
    """In their first three beginnings all four are lost at once, and then each twice while it is alone."""
    where = tmp_path / "study.journal"
    opened(where).want(4)
    ends, kills = tmp_path / "kills", 1 + TOGETHER + 4 * (ALONE - 1)

    def killed(numbers, alone):
        with ends.open("a") as file:
            file.write(f"{numbers} {alone}\n")
        return len(ends.read_text().splitlines()) <= kills

    assert lose_workers(where, killed) == kills
    assert [one.state for one in opened(where).records()] == ["complete"] * 4
    begun = ends.read_text().splitlines()
    assert begun[:3] == ["[0, 1, 2, 3] False"] * 3
    assert begun[3:11] == [f"[{number}] True" for number in (0, 1, 2, 3)] * 2


def test_workers_that_are_told_to_end_or_had_not_begun_a_trial_do_not_count_against_it(tmp_path):
    where = tmp_path / "study.journal"
    opened(where).want(3)
    for _ in range(4):
        with opened(where) as study:
            study.begin(one.number for one in study.ask(3))
    for _ in range(4):
        process = forked(lambda: (opened(where).ask(3), os.kill(os.getpid(), signal.SIGKILL)))
        process.join()
    study = opened(where)
    assert len(study.ask(3)) == 3 and study.alone is None


def test_claims_are_in_the_order_of_the_storage(tmp_path):
    study = opened(tmp_path / "study.journal")
    claims = Claims(study._storage.optuna, "study")
    assert claims.owner(7, "a") == ("a", 0)
    assert claims.add(7, 1, "b") and not claims.add(7, 1, "c") and claims.add(7, 2, "c")
    assert Claims(study._storage.optuna, "study").owner(7, "a") == ("c", 2)


def test_a_worker_of_another_machine_counts_as_gone_when_its_beat_has_stopped(tmp_path, monkeypatch):
    where = tmp_path / "study.journal"
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(workers, "_machine", lambda: "elsewhere")
    theirs = opened(where)
    lost = theirs.ask(2)
    monkeypatch.setattr(workers, "_machine", lambda: "here")
    study = opened(where)
    study.want(2)
    assert study.ask(1) == []
    for jump in (1e9, -2e9, 0.0):  # the time of day says nothing
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.8e9 + jump)
        clock[0] += 30
        theirs.beat()
        assert study.ask(1) == []
    clock[0] += 59
    assert study.ask(1) == []
    clock[0] += 2
    assert study.ask(2) == lost
    assert theirs.tell(lost[0].number, "complete", [1.0])  # it only stood still: the first word counts
    assert not study.tell(lost[0].number, "complete", [2.0])
    assert study.records()[0].values == [1.0]


def test_a_lock_of_a_dead_process_is_broken_at_once_and_of_another_machine_after_a_while(tmp_path, monkeypatch):
    where = tmp_path / "study.journal"
    study = opened(where)
    lock = tmp_path / "study.journal.lock"
    process = forked(time.sleep, 0)
    dead = workers.this_process() | {"pid": process.pid, "began": "0"}
    process.join()
    begin = time.monotonic()
    lock.write_text(json.dumps(dead))
    study.ask(1)
    lock.write_text(json.dumps(workers.this_process() | {"began": "0"}))  # its number was given again
    study.ask(1)
    assert time.monotonic() - begin < journal.GRACE / 2
    monkeypatch.setattr(journal, "GRACE", 0.3)
    for content in (json.dumps(dead | {"machine": "elsewhere"}), ""):
        lock.write_text(content)
        begin = time.monotonic()
        study.ask(1)
        assert time.monotonic() - begin > 0.3
    assert not lock.exists()


def test_a_writer_whose_lock_was_broken_meanwhile_writes_nothing(tmp_path):
    log = Journal(tmp_path / "study.journal")
    with pytest.raises(CheckpointError, match="taken over"), log.batch():
        log.append_logs([{"op_code": 1}])
        (tmp_path / "study.journal.lock").write_text("another's")
    assert (tmp_path / "study.journal").read_bytes() == b""
    assert (tmp_path / "study.journal.lock").read_text() == "another's"


def test_a_process_is_dead_if_it_is_gone_unwaited_for_or_another_by_its_number():
    process = forked(time.sleep, 60)
    began = workers._life(process.pid)[1]
    alive = workers.this_process() | {"pid": process.pid, "began": began}
    assert not workers.is_dead(alive) and workers.is_dead(alive | {"began": "1"})
    os.kill(process.pid, signal.SIGKILL)
    while workers._life(process.pid)[0] not in ("Z", "X"):
        time.sleep(0.01)
    assert workers.is_dead(alive)
    process.join()
    assert workers.is_dead(alive) and not workers.is_dead(alive | {"machine": "elsewhere"})


def test_optunas_own_classes_read_and_write_the_journal(tmp_path):
    import optuna

    where = tmp_path / "study.journal"
    study = opened(where)
    tell(study, study.ask(3))
    backend = optuna.storages.journal.JournalFileBackend(str(where))
    stock = optuna.load_study(study_name="study", storage=optuna.storages.JournalStorage(backend))
    assert [trial.values for trial in stock.trials] == [record.values for record in study.records()]
    stock.enqueue_trial({"optim.lr": 0.05, "seed": 4})
    assert study.records()[3].state == "waiting"
    assert study.ask(1) == [(3, {"optim.lr": 0.05, "seed": 4})]


def test_a_storage_that_cannot_be_used_is_told(tmp_path, monkeypatch):
    import socket
    import sqlite3

    from jaxnets.sweep import storage

    monkeypatch.setattr(storage, "READY_SECONDS", 0.3)
    with socket.socket() as closed:
        closed.bind(("localhost", 0))
        port = closed.getsockname()[1]
    (tmp_path / "file").write_text("")
    for where, said in {
        tmp_path: "is a folder; give the path of a file",
        tmp_path / "file" / "study.journal": "cannot be used",
        f"grpc://localhost:{port}": "timeout.*see that it is there, runs",
        "grpc://localhost": "grpc://HOST:PORT",
        "nosuch://server/db": "nosuch.*give a path, or a URL as in sqlite",
        "sqlite:////nowhere/at/all.db": "unable to open database file",
    }.items():
        with pytest.raises(UsageError, match=said):
            opened(where)
    url = f"sqlite:///{tmp_path}/locked.db?timeout=0.2"
    study = opened(url)
    with sqlite3.connect(tmp_path / "locked.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UsageError, match="database is locked.*another program holds it"):
            study.ask(1)
        with pytest.raises(UsageError, match="database is locked"):
            opened(url)
    other.close()
    assert [one.number for one in study.ask(1)] == [0]


def test_passwords_are_not_told(tmp_path):
    from jaxnets.sweep.storage import open_storage

    with pytest.raises(UsageError) as caught:
        open_storage("nosuch://ann:secret@server/db")
    assert "secret" not in str(caught.value)
