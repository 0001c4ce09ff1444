"""Several processes as one run: who is there, what one tells the others, and what happens when one is lost.

All talk goes through the coordination service that `jax.distributed` starts in process 0, never through the devices:
it works from any thread, beside a step that computes. A single process is never started, waits for nobody, and gets
its own words back from everything here.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, cast

from jaxnets.errors import Interrupted, JaxnetsError, MissingExtra, ProcessLost, UsageError

T = TypeVar("T")
HEARTBEAT = 60.0  # seconds without a sign of life after which a process counts as lost
_DAY = 86_400_000  # milliseconds: who is lost is noticed by heartbeats, so that waiting itself has no limit
_POLL = 0.2  # seconds between two looks at what others ask
_SPACE = "jaxnets"  # of our keys in the service
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")  # what jax reads
_LOOSE = ("OMPI_", "SLURM_")  # of launchers whose processes can work apart without having been told of each other
_QUIET = "TF_CPP_MIN_LOG_LEVEL"
_GONE = ("Gloo", "NCCL", "coordination", "UNAVAILABLE", "peer", "heartbeat")  # words of a broken collective


class Place(NamedTuple):
    """Which process of how many this one is, and where process 0 listens; None is found by jax."""

    coordinator: str | None = None  # HOST:PORT
    count: int | None = None
    index: int | None = None
    found: str = "--coordinator, --processes and --index"


def given(coordinator: str | None, processes: int | None, index: int | None) -> Place | None:
    """The place that a user gives; None if nothing is given. Raises UsageError if it is not whole.

    >>> given("127.0.0.1:1234", 2, 1)[:3]
    ('127.0.0.1:1234', 2, 1)
    """
    words = {"--coordinator HOST:PORT": coordinator, "--processes N": processes, "--index I": index}
    missing = [name for name, value in words.items() if value is None]
    if len(missing) == len(words):
        return None
    if coordinator is None or processes is None or index is None:
        raise UsageError(f"{', '.join(missing)} is missing: the three go together; give all of them or none")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(
            f"--coordinator {coordinator} is not HOST:PORT; give the address of process 0, as in node1:1234"
        )
    if processes < 1 or not 0 <= index < processes:
        raise UsageError(
            f"--index {index} of --processes {processes} is not allowed; give 1 or more processes, "
            f"and to each an index of its own from 0 to {max(processes, 1) - 1}"
        )
    return Place(coordinator, processes, index)


def find(environ: Mapping[str, str], *, tpu: bool = False) -> Place | None:
    """What says that this process is one of several; None if nothing does, and then nothing is started.

    tpu: whether jax finds the TPU cluster of this machine. Asks in jax's own order (docs/processes.md).
    Raises UsageError if a launcher is there that jax cannot ask.

    >>> find({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_MCA_orte_hnp_uri": "…"}).found
    'Open MPI'
    """
    if _whole(environ, "OMPI_COMM_WORLD_SIZE") > 1:
        place = Place(found="Open MPI")
        if "OMPI_MCA_orte_hnp_uri" in environ:
            return place
        coordinator = environ.get("JAX_COORDINATOR_ADDRESS")
        if coordinator is None:
            raise UsageError(
                "this Open MPI does not say where process 0 is; set JAX_COORDINATOR_ADDRESS=HOST:PORT, "
                "or give --coordinator, --processes and --index"
            )
        rank = _whole(environ, "OMPI_COMM_WORLD_RANK")
        return place._replace(coordinator=coordinator, count=_whole(environ, "OMPI_COMM_WORLD_SIZE"), index=rank)
    # A shell inside an allocation has the job's number of tasks too, but only a step has a list of its nodes.
    tasks = _whole(environ, "SLURM_STEP_NUM_TASKS") or _whole(environ, "SLURM_NTASKS")
    if all(name in environ for name in _SLURM) and tasks > 1:
        return Place(count=tasks, index=_whole(environ, "SLURM_PROCID"), found="Slurm")
    if tpu:
        return Place(found="the TPU's own metadata")
    if "KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ:
        return Place(found="Kubernetes")
    return None


def _whole(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdigit() else 0


def _has_tpu(environ: Mapping[str, str]) -> bool:
    """Whether jax will use TPU chips of this machine, and finds in its metadata which others belong to them."""
    if "tpu" not in (environ.get("JAX_PLATFORMS") or "tpu").split(","):
        return False
    from jax._src import clusters  # no public name; what is asked here is what `initialize` will ask

    with contextlib.suppress(Exception):  # chips and no metadata: a machine on its own
        return any(cluster.is_env_present() for cluster in (clusters.GkeTpuCluster, clusters.GceTpuCluster))
    return False


def _own_device(environ: Mapping[str, str]) -> int | None:
    """The GPU of this process where a launcher starts one process for each; None: all, or JAX_LOCAL_DEVICE_IDS."""
    names = ("OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
    if environ.get("JAX_LOCAL_DEVICE_IDS"):
        return None
    return next((_whole(environ, name) for name in names if name in environ), None)


@contextlib.contextmanager
def processes(
    place: Place | None = None, *, heartbeat: float = HEARTBEAT, wait: float = 300.0, apart: bool = False
) -> Iterator[None]:
    """While this is open the processes know each other, if there are several; `place` is found if it is not given.

    heartbeat: seconds after which a process that gives no sign of life is lost, and all others end
    wait:      seconds in which all processes must have come
    apart:     whether each works for itself: one that fails, is lost or is told to end leaves the others at work. Only
               process 0 is needed by all: it ends last, and hands on a signal; if it is killed, all end

    An error inside is told to the others, which then end too. Raises UsageError if the place is wrong, ProcessLost if
    not all come.
    """
    if heartbeat < 1:
        raise UsageError(f"--heartbeat {heartbeat:g} is not allowed; give 1 second or more")
    environ = {name: text for name, text in os.environ.items() if not (apart and name.startswith(_LOOSE))}
    place = place or find(environ, tpu=_has_tpu(environ))
    if place is None or place.count == 1:
        yield
        return
    _start(place, heartbeat, wait, apart)
    with _ending_apart() if apart else _ending(heartbeat), Watch(apart=apart):
        yield
    _end()


def _start(place: Place, heartbeat: float, wait: float, apart: bool = False) -> None:
    if apart and os.environ.get(_QUIET, "1") == "1":  # jax's own, with which its service warns of what is asked for
        os.environ[_QUIET] = "2"
    import jax

    if place.found == "Kubernetes":
        try:
            import kubernetes  # noqa: F401 # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("kubernetes", extra="k8s", purpose="to find the other pods of the job") from error
    known = place.coordinator is not None  # then jax need not look: not every launcher that it would ask can answer
    # Its handler of SIGTERM would take the place of ours, and knows nothing of Ctrl-C.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_enable_recoverability", apart)
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.count,
            place.index,
            local_device_ids=_own_device(os.environ) if known else None,
            cluster_detection_method="deactivate" if known else None,
            initialization_timeout=int(wait),
            heartbeat_timeout_seconds=max(1, round(heartbeat)),
            shutdown_timeout_seconds=max(1, round(heartbeat)),
        )
    except Exception as error:
        raise ProcessLost(
            f"the processes of this run ({place.found}) did not find each other in {wait:g} s: {_first_line(error)}; "
            "look whether all were started, and whether process 0 can be reached from the others"
        ) from error


def _end() -> None:
    """Leaves together; whoever has gone already was told of by the heartbeats."""
    import jax

    with contextlib.suppress(Exception):
        jax.distributed.shutdown()


@contextlib.contextmanager
def _ending(heartbeat: float) -> Iterator[None]:
    """An error ends this process at once, once the others know: an orderly end would wait for them in vain."""
    try:
        yield
    except Interrupted:  # all of them saved, and leave together
        _end()
        raise
    except BaseException as error:
        sys.stdout.flush()
        lost = not isinstance(error, JaxnetsError) and any(word in str(error) for word in _GONE)
        if lost:
            time.sleep(min(1.0, heartbeat))  # who failed may tell, and then its words are said instead
            error = ProcessLost(
                f"another process of this run is gone: {_first_line(error)}; "
                "the same command continues from the last checkpoint"
            )
        leave(_print_error(error), None if isinstance(error, ProcessLost) else _first_line(error))


@contextlib.contextmanager
def _ending_apart() -> Iterator[None]:
    """An error ends this process alone, but that process 0 stays as long as others live: they need its service."""
    try:
        yield
    except Interrupted as error:
        if first():
            _tell_end(error.exit_code, _first_line(error))
            _outlast()
        _end()
        raise
    except BaseException as error:
        sys.stdout.flush()
        code = error.code if isinstance(error, SystemExit) else _print_error(error)
        if first():
            _outlast()
        _end()
        raise SystemExit(code) from None
    if first():
        _outlast()


def _outlast() -> None:
    """Waits until no other process lives."""
    while living() - {index()}:
        pass


def _print_error(error: BaseException) -> int:
    """Says what went wrong; the exit code."""
    if isinstance(error, JaxnetsError):
        print(f"jaxnets: {error}", file=sys.stderr, flush=True)
    else:
        traceback.print_exception(error)
    return getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)


def leave(code: int, words: str | None) -> None:
    """Ends this process with an exit code; the others are told why, if there are others and there are `words`."""
    if count() > 1:
        with contextlib.suppress(Exception):
            if words is not None:
                _tell_end(code, words)
            if index() == 0:
                time.sleep(5 * _POLL)  # the service ends with this process: let the others read
    sys.stderr.flush()
    os._exit(code)


def _tell_end(code: int, words: str) -> None:
    _client().key_value_set(f"{_SPACE}/ended/{index()}", json.dumps({"code": code, "words": words}))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _state() -> Any:
    from jax._src import distributed  # its client has no public name (jax 0.10 to 0.12); orbax takes it from here too

    return distributed.global_state


def _client() -> Any:
    return _state().client


def count() -> int:
    """How many processes there are. Never starts a backend."""
    if "jax" not in sys.modules or _client() is None:
        return 1
    return int(_state().num_processes)


def index() -> int:
    """Which of them this one is; process 0 writes what is written once."""
    return int(_state().process_id) if count() > 1 else 0


def first() -> bool:
    """Whether this is process 0, or the only one."""
    return index() == 0


_calls: collections.Counter[str] = collections.Counter()


def living(seconds: float | None = None) -> set[int]:
    """The processes that live, once all of them have called this; those that end meanwhile are not waited for.

    seconds: how long to wait; nobody is known to live then

    For processes that work apart. A lost one is missed after `heartbeat` seconds.
    """
    if count() == 1:
        return {0}
    found: set[int] = set()

    def ask() -> None:
        with contextlib.suppress(Exception):
            found.update(_client().get_live_nodes(list(range(count()))))

    thread = threading.Thread(target=ask, daemon=True, name="jaxnets-living")  # so that this one hears signals
    thread.start()
    thread.join(seconds)
    return found


def _meet(here: str, seconds: float | None) -> None:
    """Waits for all processes."""
    if Watch.current is None or not Watch.current.apart:
        _client().wait_at_barrier(here, _DAY if seconds is None else round(1000 * seconds))
        return
    alive = living(seconds)
    came = {int(key.rpartition("/")[2]) for key, _ in _client().key_value_dir_get(here + "/")}
    if missing := set(range(count())) - (came & alive if alive else came):
        names = ", ".join(map(str, sorted(missing)))
        raise TimeoutError(f"no sign of process {names} of {count()}")


def gather(name: str, value: Any = None, *, seconds: float | None = None) -> list[Any]:
    """Everybody's value, in order of the processes; all must call it, in one order for each name.

    value:   whatever JSON holds
    seconds: how long to wait for the others; default: as long as they live

    Raises ProcessLost if one of them does not come.

    >>> gather("words", {"a": 1})
    [{'a': 1}]
    """
    if count() == 1:
        return [value]
    number = _calls[name]
    _calls[name] += 1
    client, here = _client(), f"{_SPACE}/{name}/{number}"
    try:
        client.key_value_set(f"{here}/{index()}", json.dumps(value))
        _meet(here, seconds)
        found = {key.rpartition("/")[2]: text for key, text in client.key_value_dir_get(here + "/")}
        if first() and number:  # all have passed this barrier, so nobody reads the one before any more
            client.key_value_delete(f"{_SPACE}/{name}/{number - 1}/")
    except Exception as error:
        raise ProcessLost(f"another process of this run is gone: {_first_line(error)}") from error
    return [json.loads(found[str(process)]) for process in range(count())]


def of_first(name: str, value: Any, *, seconds: float | None = None) -> Any:
    """Process 0's value, everywhere."""
    return gather(name, value if first() else None, seconds=seconds)[0]


def all_or_none(work: Callable[[], T], *, seconds: float | None = None) -> T:
    """What `work` gives here, if no process refuses; else process 0 raises what the lowest of them says, and all others
    SystemExit with its exit code, so that it is said once.

    seconds: how long to wait for the others

    >>> all_or_none(lambda: 3)
    3
    """
    if count() == 1:
        return work()
    found, refused = None, None
    try:
        found = work()
    except JaxnetsError as error:
        refused = {"code": error.exit_code, "words": str(error)}
    everyone = gather("refused", refused, seconds=seconds)
    process, why = next(((process, one) for process, one in enumerate(everyone) if one is not None), (0, None))
    if why is None:
        return cast("T", found)
    if not first():
        raise SystemExit(why["code"])
    error = JaxnetsError(f"process {process} of {count()}: {why['words']}" if process else why["words"])
    error.exit_code = why["code"]
    raise error


class Watch:
    """While this is open, a thread sees what other processes ask for and whether one has ended.

    What one process asks for happens in all of them at the same boundary: each counts its boundaries by `tick`, and a
    topic is due one boundary after the furthest that any of them had reached when it was asked for. So that none runs
    past it meanwhile, a boundary waits for the answers; they come from threads like this one, whatever a step does.
    """

    current: Watch | None = None  # of this process

    def __init__(self, *, apart: bool = False) -> None:
        self.apart, self._followed = apart, False
        self._lock = threading.Lock()
        self._ticks, self._round = 0, 0
        self.saves = 0  # that clocks have asked for and that were due
        self._asked: dict[str, Any] = {}
        self._due: dict[str, tuple[int, Any]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="jaxnets-watch")

    def __enter__(self) -> Watch:
        Watch.current = self
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        Watch.current = None
        self._closed.set()
        self._thread.join(timeout=5.0)

    def ask(self, topic: str, value: Any) -> None:
        """Asks all processes for `topic`; returns at once. A topic is agreed on once: asking again changes nothing."""
        if topic not in self._due:
            self._asked.setdefault(topic, value)

    def tick(self) -> None:
        """A boundary: all processes pass as many, in the same order."""
        with self._lock:
            self._ticks += 1

    def due(self, topic: str) -> Any:
        """The value of a topic from the boundary on that all have agreed on; None before."""
        at, value = self._due.get(topic, (0, None))
        return value if value is not None and self._ticks >= at else None

    def _run(self) -> None:
        while not self._closed.wait(_POLL):
            try:
                self._look()
            except Exception:  # the service is gone; jax ends the process when it has made sure of that
                if self._closed.wait(5 * _POLL):
                    return

    def _look(self) -> None:
        client = _client()
        for key, text in client.key_value_dir_get(f"{_SPACE}/ended/"):
            self._follow(int(key.rpartition("/")[2]), **json.loads(text))
        if self._asked:
            client.key_value_set(f"{_SPACE}/ask/{self._round}/{index()}", "", allow_overwrite=True)
        if not client.key_value_dir_get(f"{_SPACE}/ask/{self._round}/"):
            return
        with self._lock:
            asked, self._asked = self._asked, {}
            found = gather("asked", {"ticks": self._ticks, "asked": asked})
            at = max(one["ticks"] for one in found) + 1
            for one in found:  # of two values the one of the lower process
                self._due = {topic: (at, value) for topic, value in one["asked"].items()} | self._due
            self._round += 1

    def _follow(self, process: int, *, code: int, words: str) -> None:
        """Ends this process because another has ended; a signal's code is taken over."""
        if process == index():
            return
        if self.apart:
            self._follow_apart(process, code)
            return
        sys.stdout.flush()
        sys.stderr.write(
            f"jaxnets: process {process} of {count()} ended: {words}\n"
            f"process {index()} ends too; the same command continues from the last checkpoint\n"
        )
        leave(code if code > 128 else ProcessLost.exit_code, None)

    def _follow_apart(self, process: int, code: int) -> None:
        """A signal to process 0 is one to all, once."""
        if process == 0 and code > 128 and not self._followed:
            self._followed = True
            os.kill(os.getpid(), code - 128)


def agree(received: int) -> int:
    """The signal that all processes obey at this boundary, or 0, from what each has received; alone: one's own."""
    watch = Watch.current
    if watch is None:
        return received
    if received:
        watch.ask("stop", received)
    watch.tick()
    return watch.due("stop") or 0


def agree_to_save(late: bool) -> bool:
    """Whether all save at the boundary that `agree` has passed, because process 0's clock said `late` before."""
    watch = Watch.current
    if watch is None:
        return late
    topic = f"save {watch.saves}"
    if late and first():
        watch.ask(topic, True)
    due = bool(watch.due(topic))
    watch.saves += due
    return due
