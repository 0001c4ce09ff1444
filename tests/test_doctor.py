"""`jaxnets doctor`: what it finds is what is there, and its exit code says whether training can start."""

import json
from importlib import metadata

import jax
import pytest
from small import command

from jaxnets import cli, doctor


def main(capsys, *words):
    code = cli.main(["doctor", *words])
    return code, capsys.readouterr().out


def without(monkeypatch, *gone, **older):
    """An installation in which some packages are missing, or older."""
    real = metadata.version

    def version(name):
        if name in gone:
            raise metadata.PackageNotFoundError(name)
        return older.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_it_finds_what_is_there_in_a_process_of_its_own(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "some.csv").write_text("a\n")
    code, out, errors = command(
        "doctor", "--json", JAXNETS_DATA=str(tmp_path / "files"), JAXNETS_CACHE=str(tmp_path / "cache")
    )
    found = json.loads(out)
    assert code == 0 and found["can_train"] and not found["problems"], errors
    assert found["packages"]["jax"] == jax.__version__ and found["packages"]["flax"] == metadata.version("flax")
    assert found["devices"] == [f"{d.platform} {d.device_kind}" for d in jax.devices()]
    assert found["JAXNETS_DATA"] == {"path": str(tmp_path / "files"), "files": 1}
    assert found["caches"]["data"]["path"] == str(tmp_path / "cache") and found["disk"]["free_bytes"] > 0
    assert not (tmp_path / "cache").exists()  # looking makes nothing


def plain(name):
    return name.lower().replace("_", "-")


def test_every_required_package_and_every_extra_of_the_project_is_looked_at():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    if metadata.version("jaxnets") != project["version"]:
        pytest.skip("another version is installed")
    required, _ = doctor._requirements()
    listed = [doctor._requirement(line)[0] for line in project["dependencies"]]
    assert {plain(name) for name in required} == {plain(name) for name in listed}


def test_a_missing_package_is_exit_1_and_the_way_to_get_it(monkeypatch, capsys):
    without(monkeypatch, "flax")
    code, out = main(capsys)
    assert code == 1 and "flax is not installed; run: pip install" in out and "cannot train" in out


def test_a_package_that_is_too_old_is_exit_1(monkeypatch, capsys):
    without(monkeypatch, optax="0.0.9")
    code, out = main(capsys, "--json")
    assert code == 1 and "optax 0.0.9 is older than" in json.loads(out)["problems"][0]


def test_a_missing_extra_is_told_with_its_command_and_keeps_nothing_from_training(monkeypatch, capsys):
    without(monkeypatch, "tensorflow")
    code, out = main(capsys)
    assert code == 0 and 'lacks tensorflow; run: pip install "jaxnets[tf]"' in out


def test_no_device_is_exit_1(monkeypatch, capsys):
    def none():
        raise RuntimeError("no driver")

    monkeypatch.setattr(jax, "devices", none)
    code, out = main(capsys)
    assert code == 1 and "jax finds no device to compute on: no driver" in out


def test_places_sizes_and_modes_of_the_caches(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAXNETS_CACHE", str(tmp_path))
    (tmp_path / "builtin").mkdir()
    (tmp_path / "builtin" / "a").write_bytes(b"x" * 700)
    (tmp_path / "compiled" / "m").mkdir(parents=True)
    (tmp_path / "compiled" / "m" / "p").write_bytes(b"x" * 300)
    (tmp_path / "compiled").chmod(0o777)
    code, out = main(capsys, "--json")
    found = json.loads(out)
    assert code == 0 and found["caches"]["data"]["bytes"] == 700
    assert found["caches"]["compiled"] == {"path": str(tmp_path / "compiled"), "mode": "drwxrwxrwx", "bytes": 300}
    assert "others may write" in found["warnings"][0]
    (tmp_path / "compiled").chmod(0o700)
    assert not json.loads(main(capsys, "--json")[1])["warnings"]


def test_a_data_folder_that_is_none_is_a_warning(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path / "nowhere"))
    code, out = main(capsys)
    assert code == 0 and "which is no folder" in out
    monkeypatch.delenv("JAXNETS_DATA")
    assert "not set" in main(capsys)[1]
