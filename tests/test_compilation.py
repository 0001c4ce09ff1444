"""Compiled programs are kept, and only those that are what was written are used again."""

import jax
import jax.numpy as jnp
import pytest

from jaxnets import compilation


def compile_one(number):
    """A program that no other test compiles."""
    return float(jax.jit(lambda x: jnp.sin(x) * number + 1)(0.0))


def entries(folder):
    return sorted(folder.glob("*-cache"))


def test_a_program_is_kept_with_its_hash_and_found_again(tmp_path):
    with compilation.cache(tmp_path / "kept"):
        assert compile_one(31) == 1
    kept = entries(tmp_path / "kept")
    assert kept and all(entry.with_suffix(".sha256").exists() for entry in kept)
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0  # a program is trusted: no one else may write it
    written = [entry.stat().st_mtime_ns for entry in kept]
    jax.clear_caches()
    heard = []
    with compilation.cache(tmp_path / "kept"):
        jax.monitoring.register_event_listener(lambda event, **more: heard.append(event))
        assert compile_one(31) == 1
    assert "/jax/compilation_cache/cache_hits" in heard
    assert [entry.stat().st_mtime_ns for entry in entries(tmp_path / "kept")] == written
    assert not jax.config.jax_compilation_cache_dir


def test_the_folder_of_all_programs_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path))
    with compilation.cache():
        pass
    (inner,) = (tmp_path / "compiled").iterdir()
    assert {path.stat().st_mode & 0o777 for path in (inner, inner.parent)} == {0o700}


def damage(entry):
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)


def cut_short(entry):
    entry.write_bytes(entry.read_bytes()[:-20])


def never_sealed(entry):
    entry.with_suffix(".sha256").unlink()


@pytest.mark.parametrize("harm", [damage, cut_short, never_sealed])
def test_what_is_not_as_written_is_thrown_away(harm, tmp_path):
    with compilation.cache(tmp_path / "kept"):
        compile_one(47)
    for entry in entries(tmp_path / "kept"):
        harm(entry)
    jax.clear_caches()
    with compilation.cache(tmp_path / "kept"):
        assert entries(tmp_path / "kept") == []
        assert compile_one(47) == 1


def test_the_oldest_go_when_there_are_too_many(tmp_path, monkeypatch):
    for number in (51, 52, 53):
        with compilation.cache(tmp_path / "kept"):
            compile_one(number)
    kept = sorted(entries(tmp_path / "kept"), key=lambda path: path.stat().st_mtime)
    monkeypatch.setattr(compilation, "_MOST_BYTES", kept[-1].stat().st_size)
    with compilation.cache(tmp_path / "kept"):
        assert entries(tmp_path / "kept") == kept[-1:]


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    (tmp_path / "file").write_text("")
    with compilation.cache(tmp_path / "file" / "kept"):
        assert compile_one(61) == 1


def test_a_compilation_is_told_while_it_matters():
    said = []
    with compilation.told(said.append):
        compile_one(71)
    compile_one(72)
    assert any("was compiled while training" in line for line in said)
    assert all("72" not in line for line in said) and len(said) <= 3
