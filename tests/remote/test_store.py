"""What a store promises: whole puts, one creator, tries that are counted, and errors that say what to do."""

import importlib
import sys

import pytest
from faulty import Faulty, outage

from jaxnets import remote
from jaxnets.errors import CheckpointError, DataError, MissingExtra, UsageError
from jaxnets.remote import Store, lease, store


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(store, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(lease, "PATIENCE", 0.3)
    monkeypatch.setattr(lease, "_SETTLE", 0.0)
    Faulty.empty()


@pytest.fixture(params=["file", "faulty"])
def place(request, tmp_path):
    return Store(f"file://{tmp_path}/deep/run" if request.param == "file" else "faulty://bucket/run")


def test_what_is_written_is_read_listed_and_removed(place, tmp_path):
    place.write("a/b.txt", b"one")
    before = place.marks()["a/b.txt"]
    place.write("a/b.txt", b"another")
    place.write("c.txt", b"")
    assert place.read("a/b.txt") == b"another" and list(place.marks()) == ["a/b.txt", "c.txt"]
    assert place.marks()["a/b.txt"] != before and list(place.marks("a")) == ["a/b.txt"]
    assert place.marks("nothing") == {} and [url.rpartition("/")[2] for url in place.matches("a/*.txt")] == ["b.txt"]
    place.download("a", tmp_path / "here", ["b.txt"])
    place.upload(tmp_path / "here", "again", ["b.txt"])
    assert place.read("again/b.txt") == b"another"
    place.remove(["a/b.txt", "never was"])
    with pytest.raises(FileNotFoundError):
        place.read("a/b.txt")
    with pytest.raises(FileNotFoundError):
        place.download("a", tmp_path / "here", ["b.txt"])


def test_of_two_creators_one_succeeds_and_an_answer_that_was_lost_is_found_out(place):
    assert place.create("own", b"one") and not place.create("own", b"two") and place.read("own") == b"one"
    Faulty.plan(range(1, 2), after=True)
    assert place.create("other", b"three") and place.read("other") == b"three"


@pytest.mark.parametrize("after", [False, True])
def test_calls_are_tried_again_and_not_for_ever(after):
    place = Store("faulty://bucket/run", failure=DataError)
    Faulty.plan(range(1, 3), after=after)
    place.write("a", b"text")
    Faulty.plan(range(1, 3), after=after)
    place.remove(["a"])
    assert place.marks() == {}
    Faulty.plan(outage(1), after=after)
    with pytest.raises(DataError, match=r"faulty://bucket/run/a cannot be written: .* after 3 tries; look whether"):
        place.write("a", b"text")
    assert Faulty.calls == 3


def test_what_would_not_help_is_not_tried_again(monkeypatch):
    place, calls = Store("memory://bucket/run"), []

    def forbidden(*words, **more):
        calls.append(words)
        raise OSError("Forbidden: bucket/run/a\nno permission")

    monkeypatch.setattr(place._files, "pipe_file", forbidden)
    with pytest.raises(CheckpointError, match="the right to read and write there"):
        place.write("a", b"")
    assert len(calls) == 1

    def missing(*words, **more):
        raise FileNotFoundError("bucket")

    monkeypatch.setattr(place._files, "pipe_file", missing)
    with pytest.raises(UsageError, match="no such bucket or folder; make it first"):
        place.create("a", b"")


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("nosuch://bucket/run", UsageError, "nosuch:// is no place that is known"),
        ("gs://bucket/run", MissingExtra, r'pip install "jaxnets\[gcs\]"'),
        ("s3://bucket/run", MissingExtra, r'pip install "jaxnets\[s3\]"'),
    ],
)
def test_places_that_cannot_be_used_are_refused(url, kind, words, monkeypatch):
    for package in ("gcsfs", "s3fs"):
        monkeypatch.setitem(sys.modules, package, None)
    for scheme in ("gs", "s3"):
        monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, scheme, raising=False)
    with pytest.raises(kind, match=words):
        Store(url)


def test_a_holder_that_lives_is_refused_and_one_that_is_gone_is_followed(monkeypatch):
    place, said = Store("faulty://bucket/run"), []
    first, second, third = (lease.Lease(place) for _ in range(3))
    first.take(said.append)
    assert not said
    with monkeypatch.context() as living:
        living.setattr(lease.time, "sleep", lambda seconds: first.beat())
        with pytest.raises(UsageError, match=r"in use by process \d+ on .*; wait for it, end it, or give another"):
            second.take(said.append)
    third.take(said.append)
    assert said[0].endswith("for a sign of life") and "gone" in said[-1]
    third.check()
    first.beat()  # it was only frozen
    with pytest.raises(CheckpointError, match=r"was taken over by process .*, so this run ends"):
        first.check()
    first.give_back()
    third.check()
    third.give_back()
    assert place.marks() == {}


def test_paths_are_no_urls(tmp_path):
    assert not remote.is_url(str(tmp_path)) and not remote.is_url("a:b") and remote.is_url("simplecache::gs://b/x")
