"""Streams: a batch depends on its number alone, whoever makes it and whenever; bad rows are named, threads end."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets.data import Bad, Leaf, Split, Wanted, evaluation_batches, order, training_stream
from jaxnets.data.stream import Stream, batch_shapes, fetch, workers_of
from jaxnets.errors import DataError


class Rows:
    """A reader whose inputs tell their row and what they were drawn from; some rows are bad, some are slow."""

    leaves = {"inputs": Leaf((3,), "int64")}

    def __init__(self, bad=(), policy="stop", most=100):
        self.bad, self.noted = set(bad), Bad(policy, most=most)
        self.read = []

    def fill(self, rows, out, draws):
        for i, row in enumerate(rows):
            self.read.append(int(row))
            time.sleep(0.001 * (row % 7 == 0))  # so that threads finish out of order
            if row in self.bad:
                self.noted(f"rows.txt, row {row}", "unreadable")
                out["weight"][i] = 0
                continue
            out["inputs"][i] = (row, *(draws[i] if draws is not None else (0, 0)))


def split(length, **more):
    ids = np.random.default_rng(length).permutation(3 * length)[:length]
    return Split({"targets": ids.astype(np.int32)}, length, rows=ids, reader=Rows(**more))


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 40), batch=st.integers(1, 8), seed=st.integers(0, 2**31 - 1), start=st.integers(0, 30),
    taken=st.lists(st.integers(1, 4), min_size=1, max_size=3), workers=st.sampled_from([0, 1, 2]),
    processes=st.sampled_from([1, 2, 3]),
)  # fmt: skip
def test_resumed_anywhere_by_any_number_of_workers_and_processes_it_is_the_same_stream(
    length, batch, seed, start, taken, workers, processes
):
    part, batch = split(length), 6 * batch
    how = {"seed": seed, "batch_size": batch}
    with training_stream(part, workers=0, **how) as whole:
        expected = whole(range(start + sum(taken)))[start:]  # uninterrupted, from the beginning
    for number, one in enumerate(expected, start):
        ids = order(seed, number, batch_size=batch, length=length)
        np.testing.assert_array_equal(one["id"], ids)
        places = number * batch + np.arange(batch)
        np.testing.assert_array_equal(one["inputs"], np.stack([part.rows[ids], np.full(batch, seed), places], axis=1))
        np.testing.assert_array_equal(one["targets"], part.rows[ids])
        assert one["weight"].tolist() == [1.0] * batch
    parts = []
    for index in range(processes):
        with training_stream(part, workers=workers, index=index, count=processes, **how) as stream:
            found, number = [], start
            for count in taken:  # one batch at a time, or several, as blocks of steps ask for them
                found += stream(range(number, number + count))
                number += count
            parts.append(found)
    for number, one in enumerate(expected):
        own = [found[number] for found in parts]
        assert_same(one, {name: np.concatenate([batch[name] for batch in own]) for name in one})


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 50), size=st.integers(1, 4), workers=st.sampled_from([0, 2]), count=st.sampled_from([1, 2, 3])
)
def test_evaluation_reads_each_example_once(length, size, workers, count):
    part, seen = split(length), []
    for index in range(count):
        for batch in evaluation_batches(part, 6 * size, workers=workers, index=index, count=count):
            real = batch["weight"] > 0
            seen += batch["id"][real].tolist()
            np.testing.assert_array_equal(batch["inputs"][real, 0], part.rows[batch["id"][real]])
            assert not batch["inputs"][:, 1:].any()  # nothing is drawn
    assert sorted(seen) == list(range(length))
    assert sorted(part.reader.read) == sorted(part.rows.tolist())  # padding is not read


@pytest.mark.parametrize("workers", [0, 2])
def test_any_numbers_may_be_asked_for(workers):
    """A loop rolls back, passes over batches, and repeats the first ones while it is timed."""
    part = split(30)
    with training_stream(part, seed=1, batch_size=6, workers=0) as plain:
        expected = plain(range(20))
    with training_stream(part, seed=1, batch_size=6, workers=workers) as stream:
        for numbers in ([0, 1], [0, 1], [7], [2, 3, 5, 6], [6], [19], [0, 0]):
            for number, batch in zip(numbers, stream(numbers), strict=True):
                assert_same(batch, expected[number])
    with training_stream(part, seed=1, batch_size=6, workers=workers, same=True) as stream:
        assert_same(stream([11])[0], expected[0])


def test_batches_are_begun_ahead_and_no_further():
    part = split(400)
    with training_stream(part, seed=0, batch_size=10, workers=2) as stream:
        stream([0])
        until = time.monotonic() + 10
        while len(part.reader.read) < 30 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(part.reader.read) == 30  # the batch and the two after it
    with training_stream(split(400), seed=0, batch_size=10, workers=2, end=2) as stream:
        stream([0])
        assert stream._begun.keys() == {0, 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_row_stops_in_its_own_batch_or_counts_nothing(workers):
    part = split(40, bad=[])
    ids = order(0, 3, batch_size=10, length=40)
    part.reader.bad = set(part.rows[ids[[4, 7]]].tolist())
    words = rf"rows.txt, row {part.rows[ids[4]]}: unreadable; mend .* --data.on_bad skip"
    with training_stream(part, seed=0, batch_size=10, workers=workers) as stream:
        assert len(stream([0, 1, 2])) == 3  # the bad ones are read ahead already
        with pytest.raises(DataError, match=words):
            stream([3])
    part.reader.noted = Bad("skip", most=2)
    with training_stream(part, seed=0, batch_size=10, workers=workers) as stream:
        batch = stream([3])[0]
        assert np.flatnonzero(batch["weight"] == 0).tolist() == [4, 7]
        assert not batch["inputs"][[4, 7]].any() and len(part.reader.noted.rows) == 2
        stream([3, 4, 5, 6, 7, 8])  # the next epoch meets them again
    assert len(part.reader.noted.rows) == 2
    part.reader.noted = Bad("skip", most=1)
    with (
        training_stream(part, seed=0, batch_size=10, workers=workers) as stream,
        pytest.raises(DataError, match="bad row number 2, more than the 1 that data.most_bad allows"),
    ):
        stream([3])


def test_no_thread_is_left_behind_even_after_a_failure_or_half_way():
    before = set(threading.enumerate())
    part = split(100)
    with training_stream(part, seed=0, batch_size=50, workers=3) as stream:
        stream([0])
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before
    for batch in evaluation_batches(part, 10, workers=2):
        assert len(batch["id"]) == 10
        break
    part.reader.bad = set(part.rows.tolist())
    with pytest.raises(DataError):
        list(evaluation_batches(part, 10, workers=2))
    assert set(threading.enumerate()) == before


READING = """
import sys
from jaxnets.data import Data, Images, load, training_stream
images = Images(size=8, keep_gib=0)
split = load(Data(source=f"images:{sys.argv[1]}", batch_size=4, images=images)).splits["train"]
with training_stream(split, seed=0, batch_size=4, workers=2) as stream:
    for number in range(10**9):
        stream([number])
        if number == 3:
            print("reading", flush=True)
"""


def of_session(number):
    """The processes of a session, but for those that have ended."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(words[3]) == number and words[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_killed_while_it_reads_it_leaves_no_process_and_no_shared_memory(tmp_path):
    from PIL import Image

    for number in range(12):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(path)
    command = [sys.executable, "-c", READING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "reading\n"
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            assert of_session(process.pid) == {process.pid}  # its readers are threads, which end with it
            assert "/dev/shm" not in maps and "/SYSV" not in maps
        finally:
            process.kill()
    assert process.returncode == -9 and not of_session(process.pid)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_arrays_in_memory_go_through_the_same_door():
    part = Split({"inputs": np.arange(20.0).reshape(10, 2), "targets": np.arange(10)}, 10)
    with training_stream(part, seed=0, batch_size=4, workers=2) as stream:
        batch = stream([5])[0]
    np.testing.assert_array_equal(batch["targets"], order(0, 5, batch_size=4, length=10))
    assert stream._pool is None
    shapes = batch_shapes(part, 4)
    assert {n: (s.shape, s.dtype) for n, s in shapes.items()} == {n: (a.shape, a.dtype) for n, a in batch.items()}
    weights = [batch["weight"].tolist() for batch in evaluation_batches(part, 4, workers=2)]
    assert weights == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]]


def test_shapes_are_known_before_anything_is_read():
    part = split(10)
    found = batch_shapes(part, 4)
    batch = fetch(split(10), Wanted(np.arange(4, dtype=np.int32), np.ones(4, np.float32)))
    assert {n: (s.shape, s.dtype) for n, s in found.items()} == {n: (a.shape, a.dtype) for n, a in batch.items()}
    assert isinstance(found["inputs"], jax.ShapeDtypeStruct) and not part.reader.read


def test_workers_are_the_cores_unless_given():
    assert workers_of(3) == 3 and workers_of(0) == 0 and workers_of(None) >= 1
    assert isinstance(training_stream(split(4), seed=0, batch_size=1, workers=0), Stream)
