"""Checkpoints in an object store that fails at any moment: a step counts whole or not at all, and the run goes on."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from faulty import Faulty, outage

from jaxnets import checkpoint
from jaxnets.checkpoint import Checkpoints
from jaxnets.errors import CheckpointError
from jaxnets.remote import Store, store
from jaxnets.remote.shelf import RemoteShelf

URL = "faulty://bucket/run/checkpoints"
LAST = 2


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(store, "WAITS", (0.0, 0.0))
    Faulty.empty()


def tree(step):
    draw = np.random.default_rng(step)
    return {"kernel": draw.normal(size=(5, 3)).astype(np.float32), "step": np.int32(step), "none": np.zeros((0, 2))}


def equal(found, step):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(tree(step)), strict=True)
    return all(a.dtype == b.dtype and np.asarray(a).tobytes() == b.tobytes() for a, b in pairs)


@pytest.fixture
def light(monkeypatch):
    """Arrays as plain files: not orbax is tested here, which takes a tenth of a second a step."""

    def save(folder, leaves, *, shared):
        folder.mkdir(parents=True)
        for number, leaf in enumerate(leaves):
            np.save(folder / f"{number}.npy", leaf)

    monkeypatch.setattr(checkpoint, "_save_arrays", save)
    monkeypatch.setattr(
        checkpoint, "_load_arrays", lambda folder, like: [np.load(folder / f"{n}.npy") for n in range(len(like))]
    )


def shelf(disk):
    disk.mkdir(exist_ok=True)
    return RemoteShelf(Store(URL), disk)


def session(disk, *, said=None):
    """A run that restores and then saves until the last step, the first of its steps twice."""
    with Checkpoints(shelf(disk), keep_last=1, keep_best=True) as checkpoints:
        found = checkpoints.restore(tree(0), say=(said or []).append)
        assert found is None or (equal(found.tree, found.step) and found.notes == {"offset": found.step})
        begin = 1 if found is None else found.step
        for step in (begin, *range(begin, LAST + 1)):
            checkpoints.save(step, tree(step), {"offset": step}, metric=float(step))
            checkpoints.wait()


def check_all(disk):
    """Every step that counts is what was saved."""
    with Checkpoints(shelf(disk)) as checkpoints:
        steps = checkpoints.steps
        assert all(equal(checkpoints.restore(tree(0), step=step).tree, step) for step in steps)
    return steps


@pytest.fixture
def calls(light, tmp_path):
    """How many calls a session makes that nothing disturbs."""
    session(tmp_path)
    found = Faulty.calls
    Faulty.empty()
    return found


def test_a_session_leaves_the_steps_that_are_kept_and_nothing_on_this_host(tmp_path):
    session(tmp_path)
    assert check_all(tmp_path) == [1, LAST] and not any(tmp_path.iterdir())
    folders = {name.split("/")[0] for name in Store(URL).marks()}
    assert folders == {"00000001.1", "00000002", "saved"}


@pytest.mark.parametrize("after", [False, True])
def test_one_call_that_fails_anywhere_is_tried_again(tmp_path, calls, after):
    for number in range(1, calls + 1, 2):
        Faulty.empty()
        Faulty.plan(range(number, number + 2), after=after)
        session(tmp_path)
        assert Faulty.calls >= number
        Faulty.plan()
        assert check_all(tmp_path) == [1, LAST], number


@pytest.mark.parametrize("after", [False, True])
def test_an_outage_from_any_call_on_ends_the_run_and_the_next_one_continues(tmp_path, calls, after):
    counted = set()
    for number in range(1, calls + 1):
        Faulty.empty()
        Faulty.plan(outage(number), after=after)
        try:
            session(tmp_path)
        except CheckpointError as error:
            assert "after 3 tries; look whether the place can be reached" in str(error)
        else:
            assert after and number > calls - 5, "only what removes the last of an old step can work unheard"
        Faulty.plan()
        counted.add(tuple(check_all(tmp_path)))
        session(tmp_path)
        assert check_all(tmp_path)[-1] == LAST
        assert not any(tmp_path.iterdir()), number
    assert counted >= {(), (1,), (1, LAST)}


def test_a_damaged_object_is_named_and_the_step_before_is_used(tmp_path):
    with Checkpoints(shelf(tmp_path), keep_last=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, tree(step), {"offset": step})
    place, said = Store(URL), []
    name = next(name for name in place.marks("00000002") if "manifest" not in name and len(place.read(name)) > 20)
    content = bytearray(place.read(name))
    content[len(content) // 2] ^= 1
    place.write(name, bytes(content))
    with Checkpoints(shelf(tmp_path)) as checkpoints:
        assert checkpoints.restore(tree(0), say=said.append).step == 1
        assert f"checkpoint 2 is damaged: {name} is not what was written" in said[0] and checkpoints.steps == [1]
        checkpoints.save(2, tree(2), {})
        checkpoints.wait()
        place.remove([name for name in place.marks("00000001") if "arrays" in name][:1])
    assert "00000002/manifest.damaged" in place.marks()
    with Checkpoints(shelf(tmp_path)) as checkpoints, pytest.raises(CheckpointError, match="a file is not there"):
        checkpoints.restore(tree(0), step=1, say=said.append)


PROGRAM = """
import sys
from pathlib import Path

import os
import socket
import subprocess
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxnets import distributed
from jaxnets.checkpoint import Checkpoints
from jaxnets.remote import Store
from jaxnets.remote.shelf import RemoteShelf

coordinator, index, url, disk = sys.argv[1:]
Path(disk).mkdir()
with distributed.processes(distributed.Place(coordinator, 2, int(index))):
    mesh = jax.make_mesh((2,), ("x",))
    values = {"sharded": np.arange(12.0).reshape(4, 3), "whole": np.arange(5.0)}
    places = {"sharded": PartitionSpec("x"), "whole": PartitionSpec()}
    tree = {
        name: jax.make_array_from_callback(
            value.shape, NamedSharding(mesh, places[name]), lambda part, value=value: value[part]
        )
        for name, value in values.items()
    }
    with Checkpoints(RemoteShelf(Store(url), Path(disk))) as checkpoints:
        checkpoints.save(1, tree, {})
        checkpoints.save(2, tree, {})
        found = checkpoints.restore(tree)
    for name, leaf in found.tree.items():
        for shard in leaf.addressable_shards:
            assert np.array_equal(shard.data, values[name][shard.index])
    print("done", found.step)
"""


@pytest.mark.slow
def test_processes_that_share_nothing_but_a_store_write_one_step_that_any_number_reads(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "program.py").write_text(PROGRAM)
    url = f"file://{tmp_path}/bucket"
    words = [sys.executable, str(tmp_path / "program.py"), coordinator]
    environ = os.environ | {"JAX_PLATFORMS": "cpu"}
    both = [
        subprocess.Popen([*words, str(i), url, str(tmp_path / f"disk{i}")], stdout=subprocess.PIPE, env=environ)
        for i in range(2)
    ]
    assert [process.communicate(timeout=300)[0].decode().strip() for process in both] == ["done 2", "done 2"]
    (tmp_path / "own").mkdir()
    like = {"sharded": np.zeros((4, 3), np.float32), "whole": np.zeros(5, np.float32)}
    with Checkpoints(RemoteShelf(Store(url), tmp_path / "own")) as checkpoints:
        assert checkpoints.steps == [1, 2]
        found = checkpoints.restore(like).tree
    assert np.array_equal(found["sharded"], np.arange(12.0).reshape(4, 3)) and np.array_equal(found["whole"], range(5))
    parts = [name for name in Store(url).marks("00000002") if "/arrays/" in name and name.endswith(("0.0", "1.0"))]
    assert len(parts) == 2, "each process has sent its own shard"
