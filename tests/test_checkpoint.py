"""What is restored is what was saved, or a step is named and not used: damage, full disks, kills, retention."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.checkpoint import Checkpoints
from jaxnets.errors import CheckpointError


def tree(step):
    draw = np.random.default_rng(step)
    return {
        "params": {
            "kernel": draw.normal(size=(33, 17)).astype(np.float32),
            "half": jnp.ones((3,), jnp.bfloat16) * step,
        },
        "opt_state": (np.int32(step), [draw.normal(size=(5,)).astype(np.float32)], None),
        "key": np.array([1, step], np.uint32),
        "empty": np.zeros((0, 4), np.float32),
    }


def equal(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in pairs
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(folder, keep_last=3) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, tree(step), {"offset": step}, metric=float(step))
    return folder


def restore(folder, say=lambda line: None, **more):
    with Checkpoints(folder, keep_last=3) as checkpoints:
        return checkpoints.restore(tree(0), say=say, **more)


def test_what_is_restored_is_what_was_saved(saved):
    found = restore(saved)
    assert found is not None and found.step == 3 and found.notes == {"offset": 3} and equal(found.tree, tree(3))
    assert equal(restore(saved, step=1).tree, tree(1))


def test_nothing_saved_is_none_and_all_lost_is_an_error(tmp_path):
    assert restore(tmp_path / "new") is None
    with Checkpoints(tmp_path / "lost") as checkpoints:
        checkpoints.save(1, tree(1), {})
    shutil.rmtree(tmp_path / "lost" / "00000001")
    with pytest.raises(CheckpointError, match="holds none now"):
        restore(tmp_path / "lost")


def test_saving_copies_so_that_donated_buffers_do_no_harm(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        leaf = jnp.arange(100000.0)
        checkpoints.save(1, {"w": leaf}, {})
        jax.jit(lambda x: x * 0 - 1, donate_argnums=0)(leaf).block_until_ready()
        assert checkpoints.restore({"w": np.zeros(100000, np.float32)}).tree["w"][-1] == 99999


def test_the_last_the_every_and_the_best_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep_last=2, keep_every=4, mode="max") as checkpoints:
        for step, metric in enumerate([0.1, 0.9, 0.3, 0.2, 0.9, None, float("nan"), 0.4], start=1):
            checkpoints.save(step, {"w": np.float32(step)}, {}, metric=metric)
        checkpoints.wait()
        assert checkpoints.steps == [2, 4, 7, 8]
        assert checkpoints.best_step == 2
    with Checkpoints(tmp_path, mode="max") as again:
        assert again.best_step == 2


def test_a_step_that_was_passed_over_does_not_count_among_the_last(tmp_path):
    with Checkpoints(tmp_path, keep_last=1, keep_best=False) as checkpoints:
        checkpoints.save(1, {"w": np.float32(1)}, {})
        checkpoints.wait()
        shutil.copytree(tmp_path / "00000001", tmp_path / "00000009")  # a newer one that is not what it says
        assert checkpoints.restore({"w": np.float32(0)}, say=lambda line: None).step == 1
        checkpoints.save(2, {"w": np.float32(2)}, {})
        checkpoints.wait()
        assert checkpoints.steps == [2] and (tmp_path / "damaged-00000009").is_dir()


def test_the_best_by_another_name_is_not_the_best(tmp_path):
    with Checkpoints(tmp_path, mode="min", monitor="loss") as checkpoints:
        checkpoints.save(1, {"w": np.float32(1)}, {}, metric=2.3)
    with Checkpoints(tmp_path, mode="max", monitor="accuracy") as again:
        assert again.best_step is None
        again.save(2, {"w": np.float32(2)}, {}, metric=0.9)
        again.wait()
        assert again.best_step == 2


def test_a_step_saved_again_replaces_the_old_one(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": np.float32(1)}, {})
        checkpoints.save(1, {"w": np.float32(2)}, {})
        found = checkpoints.restore({"w": np.float32(0)})
    assert float(found.tree["w"]) == 2 and len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1


def test_another_tree_is_named_and_not_called_damage(saved):
    with (
        Checkpoints(saved) as checkpoints,
        pytest.raises(CheckpointError, match="is float32 .* there and absent in this config"),
    ):
        checkpoints.restore({"params": {"kernel": np.zeros(3)}})


def test_half_written_leftovers_are_cleaned(saved, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    shutil.copytree(folder / "00000003", folder / ".00000004")
    assert restore(folder).step == 3
    assert sorted(p.name for p in folder.iterdir()) == ["00000001", "00000002", "00000003", "saved"]


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "saved")


def _never_wrong(folder, what):
    """Every restore gives a step as it was saved, or an error; a step with a changed file is never used."""
    said = []
    try:
        found = restore(folder, say=said.append)
    except CheckpointError:
        return None
    assert equal(found.tree, tree(found.step)) and found.notes == {"offset": found.step}, what
    assert found.step == 3 or said, what
    return found.step


def _flips(saved, folder, count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        shutil.copytree(saved, folder)
        path = draw.choice([file for file in _files(folder) if file.stat().st_size])
        content = bytearray(path.read_bytes())
        bit = draw.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        damaged = int(path.relative_to(folder).parts[0])
        assert _never_wrong(folder, f"bit {bit} of {path}") == (2 if damaged == 3 else 3)
        shutil.rmtree(folder)


def _breaks(saved, folder, count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        shutil.copytree(saved, folder)
        path, other = draw.sample(_files(folder), 2)
        kind = draw.choice(["truncate", "delete", "swap", "swap steps", "delete step"])
        if kind == "truncate":
            os.truncate(path, draw.randrange(path.stat().st_size) if path.stat().st_size else 0)
        elif kind == "delete":
            path.unlink()
        elif kind == "swap":
            a, b = path.read_bytes(), other.read_bytes()
            path.write_bytes(b)
            other.write_bytes(a)
        elif kind == "swap steps":
            (folder / "00000003").rename(folder / "x")
            (folder / "00000001").rename(folder / "00000003")
            (folder / "x").rename(folder / "00000001")
        else:
            shutil.rmtree(folder / "00000002")
        _never_wrong(folder, f"{kind} {path} {other}")
        shutil.rmtree(folder)


def test_50_flipped_bits_never_restore_wrong(saved, tmp_path):
    _flips(saved, tmp_path / "c", 50, seed=0)


def test_30_truncations_deletions_and_swaps_never_restore_wrong(saved, tmp_path):
    _breaks(saved, tmp_path / "c", 30, seed=0)


@pytest.mark.slow
def test_500_flipped_bits_never_restore_wrong(saved, tmp_path):
    _flips(saved, tmp_path / "c", 500, seed=1)


@pytest.mark.slow
def test_200_truncations_deletions_and_swaps_never_restore_wrong(saved, tmp_path):
    _breaks(saved, tmp_path / "c", 200, seed=1)


def test_if_none_is_good_it_is_an_error_that_names_each(saved, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    for step in (1, 2, 3):
        (folder / f"{step:08d}" / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match="none of the checkpoints") as caught:
        restore(folder)
    assert all(f"checkpoint {step} is damaged" in str(caught.value) for step in (1, 2, 3))


def test_a_full_disk_is_an_error_at_the_next_save_and_older_steps_stay(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        small = {"w": np.random.default_rng(0).normal(size=1000)}
        large = {"w": np.random.default_rng(0).normal(size=500_000)}
        checkpoints = Checkpoints(disk / "checkpoints")
        checkpoints.save(1, small, {})
        checkpoints.save(2, large, {})
        with pytest.raises(CheckpointError, match="checkpoint 2 could not be written: no space is left"):
            checkpoints.save(3, small, {})
        assert checkpoints.restore(small).step == 1
        checkpoints.save(3, small, {})  # the failed step left nothing behind, so there is room again
        checkpoints.wait()
        assert checkpoints.steps == [1, 3]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_killed_save_leaves_only_whole_steps(tmp_path):
    code = (
        "import sys, numpy as np, pathlib\n"
        "from jaxnets.checkpoint import Checkpoints\n"
        "c = Checkpoints(pathlib.Path(sys.argv[1]), keep_last=2)\n"
        "for step in range(1, 1000):\n"
        "    c.save(step, {'w': np.full(50000, step, np.float32)}, {})\n"
        "    print(step, flush=True)\n"
    )
    for delay in (0.02, 0.05, 0.11):
        command = [sys.executable, "-c", code, tmp_path / "c"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.stdout.readline() != "5\n":
                assert process.poll() is None
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        with Checkpoints(tmp_path / "c") as checkpoints:
            said = []
            found = checkpoints.restore({"w": np.zeros(50000, np.float32)}, say=said.append)
            assert not said and (found.tree["w"] == found.step).all() and found.step >= 3
        shutil.rmtree(tmp_path / "c")


def test_the_manifest_names_every_file(saved):
    manifest = json.loads((saved / "00000003" / "manifest.json").read_text().splitlines()[1])
    files = {str(p.relative_to(saved / "00000003")) for p in _files(saved / "00000003")}
    assert set(manifest["files"]) == files - {"manifest.json"}
