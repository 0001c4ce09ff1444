"""Checkpoints: written in the background by orbax, proved by hashes, and never trusted without them.

A step is a folder `checkpoints/00000500/` with orbax's `arrays/` and our `manifest.json`. Everything is written aside;
the manifest comes last, holds the hash of every file, of every leaf and of itself, and the step counts when all of it
is safe on its shelf. So a step is whole or not there, and one flipped bit anywhere is noticed at restore.

Where a run has several processes each writes and reads its own shards, hashes its share of the files, and answers for
its part of each leaf; process 0 writes the manifest. They talk through the coordination service, never through the
devices, since writing goes on beside training. No process ever needs the whole of a leaf, and what some number of
processes wrote, any other number reads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxnets import distributed
from jaxnets.digest import add, digest
from jaxnets.errors import CheckpointError, JaxnetsError, ProcessLost
from jaxnets.shelf import MANIFEST, Folder, Shelf
from jaxnets.types import PyTree

_ARRAYS = "arrays"


class Restored(NamedTuple):
    """What was saved, in the structure that was asked for: numpy leaves, or with several processes global arrays."""

    step: int
    tree: PyTree
    notes: dict[str, Any]


class _Damaged(Exception):
    """A step that cannot be trusted; the message names the file."""


class Checkpoints:
    """The checkpoints of one run, opened by one run at a time: by all of its processes, which call everything together.

    place:      the shelf, or the folder that is one
    keep_last:  the newest steps are kept
    keep_every: steps at a multiple of it are kept for good
    keep_best:  the step with the best metric is kept; `mode` says whether more or less is better
    monitor:    the metric's name; values that were saved under another name are not compared

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder) / "checkpoints") as checkpoints:
    ...     checkpoints.save(3, {"w": np.arange(2.0)}, {"note": 1})
    ...     checkpoints.wait()
    ...     checkpoints.restore({"w": np.zeros(2)})
    Restored(step=3, tree={'w': array([0., 1.])}, notes={'note': 1})
    """

    def __init__(
        self,
        place: Path | Shelf,
        *,
        keep_last: int = 2,
        keep_every: int | None = None,
        keep_best: bool = True,
        mode: Literal["max", "min"] = "min",
        monitor: str = "",
    ) -> None:
        self._shelf: Shelf = Folder(place) if isinstance(place, Path) else place
        self._monitor = monitor
        self._keep_last, self._keep_every, self._keep_best, self._mode = keep_last, keep_every, keep_best, mode
        if distributed.first():
            self._shelf.clean()
        distributed.gather("checkpoints opened")
        self._metrics = {step: self._metric(name) for step, name in self._shelf.steps().items()}
        self._thread: threading.Thread | None = None
        self._failure: CheckpointError | ProcessLost | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if kind is None:
            self.wait()
        elif self._thread is not None and distributed.count() == 1:  # of several one may be gone that it waits for
            self._thread.join()

    @property
    def steps(self) -> list[int]:
        """The steps that are there, oldest first."""
        return sorted(self._shelf.steps())

    @property
    def best_step(self) -> int | None:
        """The earliest step with the best metric, or None if none has one."""
        known = {step: m for step, m in self._metrics.items() if m is not None and m == m}
        if not known:
            return None
        best = (max if self._mode == "max" else min)(known.values())
        return min(step for step, metric in known.items() if metric == best)

    def save(self, step: int, tree: PyTree, notes: dict[str, Any], *, metric: float | None = None) -> None:
        """Copies `tree` to the host and returns; a thread writes it. CheckpointError if the save before failed."""
        self.wait()
        host = jax.tree.map(_copied, tree)
        self._thread = threading.Thread(
            target=self._write, args=(step, host, notes, metric), name="jaxnets-checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Returns once the last save is on the disk. Raises CheckpointError if it failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def restore(self, like: PyTree, *, step: int | None = None, say: Callable[[str], None] = print) -> Restored | None:
        """The newest good step, or the one asked for; None if no step was ever saved.

        like: a tree of arrays or `jax.ShapeDtypeStruct`s; with several processes each has the sharding to restore in.
        Every damaged step is named through `say` and passed over; once a good one is found they are set aside as
        `damaged-…`, so that they do not count among the kept ones. All processes find the same.
        Raises CheckpointError if steps are there and none is good, or if a good one has other leaves than `like`.
        """
        self.wait()
        steps, once = distributed.of_first("steps", (self.steps[::-1], self._shelf.began()))
        if not steps and once:
            raise CheckpointError(
                f"{self._shelf} held checkpoints and holds none now; restore one from a copy, "
                "or start anew in another --run-dir"
            )
        if not steps:
            return None
        bad: dict[int, str] = {}
        for number in steps if step is None else [number for number in steps if number == step]:
            try:
                found = self._read(number, like)
            except _Damaged as error:
                bad[number] = f"checkpoint {number} is damaged: {error}"
                say(f"{bad[number]}; it is not used")
            else:
                self._set_aside(list(bad))
                return found
        why = "; ".join(bad.values()) or f"there is no {step}"
        raise CheckpointError(
            f"none of the checkpoints {steps} in {self._shelf} can be used: {why}; "
            "restore one from a copy, or start anew in another --run-dir"
        )

    def _set_aside(self, steps: list[int]) -> None:
        if not distributed.first():
            return
        names = self._shelf.steps()
        for step in steps:
            self._shelf.set_aside(names[step])
            self._metrics.pop(step, None)

    def _metric(self, name: str) -> float | None:
        try:
            manifest = _read_manifest(self._shelf, name)
        except _Damaged:
            return None
        return manifest["metric"] if manifest["monitor"] == self._monitor else None

    def _write(self, step: int, tree: PyTree, notes: dict[str, Any], metric: float | None) -> None:
        aside = self._shelf.aside(step)
        try:
            names, leaves = _named(tree)
            if distributed.first() or not self._shelf.shared:
                self._check_space(leaves)
            _save_arrays(aside / _ARRAYS, leaves, shared=self._shelf.shared)
            manifest = {
                "step": step,
                "metric": metric,
                "monitor": self._monitor,
                "notes": notes,
                "leaves": _described(names, leaves, "written"),
                "files": self._shelf.store(step, aside),
            }
            if distributed.first():
                self._shelf.commit(step, aside, _sealed(manifest))
            self._metrics[step] = metric
            if distributed.first():
                self._forget()
            distributed.gather("placed")  # so that no process goes on with a step that is not there
        except ProcessLost as error:
            self._failure = error
        except Exception as error:
            self._shelf.drop(aside)
            self._failure = CheckpointError(f"checkpoint {step} could not be written: {self._why(error)}")
            self._failure.__cause__ = error

    def _check_space(self, leaves: list[Any]) -> None:
        """Before a half of it is written: the arrays, and a manifest of some 300 bytes for each."""
        if shutil.disk_usage(self._shelf.disk).free < sum(leaf.nbytes + 300 for leaf in leaves):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _why(self, error: Exception) -> str:
        first = (str(error).splitlines() or [""])[0]
        free = shutil.disk_usage(self._shelf.disk).free
        full = "No space left" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
        if full or free < 1 << 20:
            return (
                f"no space is left on the disk of {self._shelf.disk} ({free / 2**20:.1f} MiB free); "
                "older checkpoints are intact: free some space and give the same command again"
            )
        return first if isinstance(error, JaxnetsError) else f"{type(error).__name__}: {first}"

    def _forget(self) -> None:
        """Removes the steps that no rule keeps."""
        names = self._shelf.steps()
        kept = set(sorted(names)[-self._keep_last :])
        kept |= {step for step in names if self._keep_every and step % self._keep_every == 0}
        kept |= {self.best_step} if self._keep_best else set()
        for step in names.keys() - kept:
            self._shelf.remove(names[step])
            self._metrics.pop(step, None)

    def _read(self, step: int, like: PyTree) -> Restored:
        name, manifest = self._manifest_of(step)
        names, wanted = _named(like)
        with self._shelf.fetched(name, manifest["files"]) as fetched:
            _agree_on(fetched.bad)
            _check_leaves(manifest["leaves"], names, wanted, step)
            leaves, failure = [], None
            try:
                leaves = _load_arrays(fetched.folder / _ARRAYS, wanted)
            except Exception as error:
                failure = f"{name}/{_ARRAYS} cannot be read ({error})"
            _agree_on(failure)
        for found, written in zip(_described(names, leaves, "read"), manifest["leaves"], strict=True):
            if found != written:
                raise _Damaged(f"{name}, leaf {written['path']}, is not what was saved")
        return Restored(step, jax.tree.unflatten(jax.tree.structure(like), leaves), manifest["notes"])

    def _manifest_of(self, step: int) -> tuple[str, dict[str, Any]]:
        """The folder's name of a step, and its manifest as process 0 reads it."""
        found: dict[str, Any] = {}
        if distributed.first():
            name = self._shelf.steps()[step]
            try:
                found = {"name": name, "manifest": _read_manifest(self._shelf, name)}
                if found["manifest"]["step"] != step:
                    raise _Damaged(f"{name} holds step {found['manifest']['step']}")
            except _Damaged as error:
                found = {"damaged": str(error)}
        found = distributed.of_first("manifest", found)
        if "damaged" in found:
            raise _Damaged(found["damaged"])
        return found["name"], found["manifest"]


def _agree_on(bad: str | None) -> None:
    """Raises _Damaged in all processes if one has found a damage."""
    found = [word for word in distributed.gather("damage", bad) if word is not None]
    if found:
        raise _Damaged(found[0])


def _copied(leaf: Any) -> Any:
    """A copy on the host, as numpy, or of this process's shards alone where there are others; nothing is compiled."""
    if distributed.count() == 1:
        return np.array(jax.device_get(leaf), copy=True)
    if not isinstance(leaf, jax.Array):
        raise TypeError(f"a leaf of {type(leaf).__name__} has no sharding; place the tree on the devices first")
    if all(device.platform == "cpu" for device in leaf.sharding.device_set):
        shards = [jax.device_put(np.array(shard.data, copy=True), shard.device) for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, shards)
    return jax.block_until_ready(jax.device_put(leaf, leaf.sharding.with_memory_kind("pinned_host")))


def _named(tree: PyTree) -> tuple[list[str], list[Any]]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [jax.tree_util.keystr(path) for path, _ in pairs], [leaf for _, leaf in pairs]


def _described(names: list[str], leaves: list[Any], when: str) -> list[dict[str, Any]]:
    """What a manifest says of each leaf, from what every process answers for."""
    parts = distributed.gather(f"digests {when}", [digest(leaf) for leaf in leaves])
    whole = [f"{add(own):016x}" for own in zip(*parts, strict=True)]
    return [
        {"path": name, "shape": list(leaf.shape), "dtype": str(leaf.dtype), "digest": found}
        for name, leaf, found in zip(names, leaves, whole, strict=True)
    ]


def _check_leaves(written: list[dict[str, Any]], names: list[str], wanted: list[Any], step: int) -> None:
    """Another model or optimizer than the one that was saved is a mistake of the user, not a damage."""
    have = {leaf["path"]: (tuple(leaf["shape"]), leaf["dtype"]) for leaf in written}
    want = {name: (tuple(leaf.shape), str(leaf.dtype)) for name, leaf in zip(names, wanted, strict=True)}
    for path in [*have, *want]:
        if have.get(path) != want.get(path):
            raise CheckpointError(
                f"checkpoint {step} does not fit: {path} is {_words(have.get(path))} there "
                f"and {_words(want.get(path))} in this config; continue with the config "
                "it was trained with, or start anew in another --run-dir"
            )


def _words(found: tuple[Any, str] | None) -> str:
    return "absent" if found is None else f"{found[1]} {found[0]}"


def _sealed(manifest: dict[str, Any]) -> bytes:
    """A manifest as its file holds it: after its own hash."""
    content = json.dumps(manifest)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f"{digest}\n{content}\n".encode()


def _read_manifest(shelf: Shelf, name: str) -> dict[str, Any]:
    try:
        digest, content, end = shelf.manifest(name).split(b"\n")
    except (OSError, ValueError) as error:
        raise _Damaged(f"{name}/{MANIFEST} is missing or cut short") from error
    if end or hashlib.sha256(content).hexdigest().encode() != digest:
        raise _Damaged(f"{name}/{MANIFEST} is not what was written")
    return json.loads(content)


def _save_arrays(folder: Path, leaves: list[Any], *, shared: bool) -> None:
    """Leaves by number; orbax refuses arrays of size 0, so those live in the manifest alone.

    shared: whether all processes see the folder; else each writes what the others' parts complete when they are
            laid together
    """
    with _quiet(), _checkpointer(shared=shared) as checkpointer:
        checkpointer.save(folder, {f"{index:05d}": leaf for index, leaf in enumerate(leaves) if leaf.size})


def _load_arrays(folder: Path, like: list[Any]) -> list[Any]:
    leaves: list[Any] = [None if leaf.size else np.zeros(leaf.shape, leaf.dtype) for leaf in like]
    names = {f"{index:05d}": index for index, leaf in enumerate(leaves) if leaf is None}
    arguments = {name: _how(like[index]) for name, index in names.items()}
    with _quiet(), _checkpointer() as checkpointer:
        found = checkpointer.restore(folder, restore_args=arguments)
    for name, index in names.items():
        leaves[index] = found[name] if distributed.count() > 1 else np.asarray(found[name])
    return leaves


def _how(like: Any) -> Any:
    import orbax.checkpoint as ocp

    if distributed.count() == 1:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(
        restore_type=jax.Array, sharding=like.sharding, global_shape=like.shape, dtype=like.dtype
    )


def _checkpointer(*, shared: bool = True) -> Any:
    """orbax over all processes; told who they are, it waits through the coordination service and not the devices."""
    import orbax.checkpoint as ocp

    if distributed.count() == 1:
        return ocp.PyTreeCheckpointer()
    everyone = set(range(distributed.count()))
    # Where each has a folder of its own, each is the first of its folder, and no file holds parts of several.
    options = ocp.options.MultiprocessingOptions(primary_host=0 if shared else None, active_processes=everyone)
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options, use_ocdbt=shared)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """orbax logs hints, and every error that it raises as well; what is for the user is said by us, in one sentence.

    Where one array cannot be written, the others' writes end later and call a loop that is closed by then. Their
    complaint comes on a thread of their own, at any time from then on, so it stays unheard after a failure.
    """
    logger = logging.getLogger("absl")
    level, hook = logger.level, sys.unraisablehook

    def hear(raised: Any) -> None:
        if "Event loop is closed" not in str(raised.exc_value):
            hook(raised)

    logger.setLevel(logging.CRITICAL)
    sys.unraisablehook = hear
    try:
        yield
        sys.unraisablehook = hook
    finally:
        logger.setLevel(level)
