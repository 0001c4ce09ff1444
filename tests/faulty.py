"""`faulty://`: an object store in memory that fails when it is told to, before or after it has done what was asked."""

import itertools
import threading

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

ERRORS = (TimeoutError("no answer"), OSError("connection reset by peer"))


class Faulty(MemoryFileSystem):
    """Calls are counted from 1; those in `broken` fail, and `after` says whether they have worked nevertheless."""

    protocol = "faulty"
    store, pseudo_dirs = {}, [""]
    calls, broken, after, seen, lock = 0, range(0), False, set(), threading.Lock()

    @classmethod
    def plan(cls, broken=range(0), *, after=False):
        """From now on these calls fail."""
        cls.calls, cls.broken, cls.after, cls.seen = 0, broken, after, set()

    @classmethod
    def empty(cls):
        cls.store.clear()
        cls.plan()

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faulty://", "memory://"))


def _counted(name):
    def call(self, *words, **more):
        with Faulty.lock:
            Faulty.calls += 1
            number = Faulty.calls
            Faulty.seen.add(name)
        if number in Faulty.broken and not Faulty.after:
            raise ERRORS[number % len(ERRORS)]
        found = getattr(MemoryFileSystem, name)(self, *words, **more)
        if number in Faulty.broken:
            raise ERRORS[number % len(ERRORS)]
        return found

    return call


for method in ("cat_file", "pipe_file", "put_file", "get_file", "find", "rm_file"):
    setattr(Faulty, method, _counted(method))
fsspec.register_implementation("faulty", Faulty, clobber=True)


def outage(start):
    """Every call from this one on."""
    return _From(start)


class _From:
    def __init__(self, start):
        self.start = start

    def __contains__(self, number):
        return number >= self.start


def sample(total, count):
    """About `count` numbers from 1 to `total`, both among them."""
    step = max(1, total // count)
    return sorted({*itertools.islice(range(1, total + 1, step), count), total})
