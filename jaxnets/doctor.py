"""Whether this machine can train: what is installed, what computes, and where prepared things lie."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import stat
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxnets.columns import columns, scaled
from jaxnets.remote import is_url

_LITTLE_DISK = 2**30  # bytes


def show(*, as_json: bool) -> int:
    """Prints what was found and what to do; returns 0 where training can start, 1 where something is missing."""
    found = examine()
    print(json.dumps(found, indent=2) if as_json else _text(found))
    return 1 if found["problems"] else 0


def examine() -> dict[str, Any]:
    """What was found, as JSON values; `problems` keep a run from starting, `warnings` do not."""
    required, extras = _requirements()
    problems = _unmet(required)
    found: dict[str, Any] = {
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "packages": {name: _version(name) for name in ("jaxnets", "jax", "jaxlib", *required) if _version(name)},
        "extras": {extra: _extra(extra, names) for extra, names in extras.items()},
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "JAXNETS_DATA": _data_folder(),
    }
    warnings = [found["JAXNETS_DATA"]["warning"]] if "warning" in found["JAXNETS_DATA"] else []
    if not problems:  # what follows imports jax
        for part in (_devices, _caches):
            facts, bad, doubtful = part()
            found |= facts
            problems += bad
            warnings += doubtful
    return found | {"problems": problems, "warnings": warnings, "can_train": not problems}


def _requirements() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """({package: least version} that is required, {extra: {package: least version}}), as the installation says."""
    try:
        lines = metadata.requires("jaxnets") or []
    except metadata.PackageNotFoundError:
        return {"jaxnets": ""}, {}
    required: dict[str, str] = {}
    extras: dict[str, dict[str, str]] = {}
    for line in lines:
        name, least, extra = _requirement(line)
        if name != "jaxnets":
            (extras.setdefault(extra, {}) if extra else required)[name] = least
    return required, extras


def _requirement(line: str) -> tuple[str, str, str]:
    """(package, least version, extra) of a line of the installation's metadata.

    >>> _requirement('tensorflow>=2.20; extra == "tf"'), _requirement("jax>=0.10.2")
    (('tensorflow', '2.20', 'tf'), ('jax', '0.10.2', ''))
    """
    name = re.match(r"[\w.-]+", line)
    least = re.search(r">=\s*([\d.]+)", line)
    extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
    return name[0] if name else line, least[1] if least else "", extra[1] if extra else ""


def _unmet(required: dict[str, str]) -> list[str]:
    problems = []
    for name, least in required.items():
        version = _version(name)
        if version is None:
            problems.append(f"{name} is not installed; run: pip install {_quoted(name, least)}")
        elif _numbers(version) < _numbers(least):
            problems.append(f"{name} {version} is older than {least}; run: pip install {_quoted(name, least)}")
    return problems


def _quoted(name: str, least: str) -> str:
    return f'"{name}>={least}"' if least else name


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _extra(extra: str, packages: dict[str, str]) -> dict[str, Any]:
    missing = [name for name in packages if _version(name) is None]
    return {"missing": missing, "install": f'pip install "jaxnets[{extra}]"'} if missing else {"missing": []}


def _data_folder() -> dict[str, Any]:
    given = os.environ.get("JAXNETS_DATA")
    if not given:
        return {"path": None}
    if is_url(given):
        return {"path": given}
    if not Path(given).is_dir():
        return {"path": given, "warning": f"JAXNETS_DATA is {given}, which is no folder; name the one with your files"}
    return {"path": given, "files": sum(path.is_file() for path in Path(given).iterdir())}


Part = tuple[dict[str, Any], list[str], list[str]]  # facts, problems, warnings


def _devices() -> Part:
    if "jax" not in sys.modules:  # a look must not take the memory that a run beside it needs
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax

        devices = [f"{device.platform} {device.device_kind}" for device in jax.devices()]
    except Exception as error:  # whatever a driver or a half-installed package raises
        return {"devices": []}, [f"jax finds no device to compute on: {error}"], []
    idle = shutil.which("nvidia-smi") and all(device.startswith("cpu") for device in devices)
    words = 'an NVIDIA driver is here, but jax sees the CPU alone; run: pip install "jax[cuda12]"'
    return {"devices": devices}, [], [words] if idle else []


def _caches() -> Part:
    from jaxnets import compilation
    from jaxnets.data.cache import cache_dir

    data, compiled = cache_dir(), compilation.cache_dir()
    there = next(path for path in (data, *data.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    facts = {
        "caches": {"data": _folder(data, without=compiled), "compiled": _folder(compiled)},
        "disk": {"path": str(there), "free_bytes": free},
    }
    problems, warnings = [], []
    if not os.access(there, os.W_OK):
        problems.append(f"{there} cannot be written, but data is prepared there; name another folder in JAXNETS_CACHE")
    if compiled.is_dir() and compiled.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        warnings.append(f"others may write {compiled}, whose programs are run; run: chmod -R go-w {compiled}")
    if free < _LITTLE_DISK:
        warnings.append(f"{scaled(free)}B are free at {there}; make room, or name another folder in JAXNETS_CACHE")
    return facts, problems, warnings


def _folder(path: Path, *, without: Path | None = None) -> dict[str, Any]:
    if not path.is_dir():
        return {"path": str(path), "mode": None, "bytes": 0}
    files = (file for file in path.rglob("*") if without is None or without not in file.parents)
    size = sum(file.lstat().st_size for file in files if file.is_file())
    return {"path": str(path), "mode": stat.filemode(path.stat().st_mode), "bytes": size}


def _text(found: dict[str, Any]) -> str:
    rows = [
        ("python", f"{found['python']['version']}  {found['python']['executable']}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in found["packages"].items())),
        ("threads", str(found["threads"])),
    ]
    rows += [("device", device) for device in found.get("devices", [])]
    rows += [(f"extra {name}", _extra_words(extra)) for name, extra in found["extras"].items()]
    folder = found["JAXNETS_DATA"]
    rows.append(("JAXNETS_DATA", f"{folder['path']}  {folder.get('files', 0)} files" if folder["path"] else "not set"))
    for name, cache in found.get("caches", {}).items():
        words = f"{cache['mode']}  {scaled(cache['bytes'])}B" if cache["mode"] else "not there yet"
        rows.append((f"{name} cache", f"{cache['path']}  {words}"))
    if "disk" in found:
        rows.append(("free disk", f"{scaled(found['disk']['free_bytes'])}B at {found['disk']['path']}"))
    rows += [("warning", words) for words in found["warnings"]] + [("problem", words) for words in found["problems"]]
    verdict = "this machine can train" if found["can_train"] else "this machine cannot train before that is mended"
    return f"{columns(rows)}\n\n{verdict}"


def _extra_words(extra: dict[str, Any]) -> str:
    return f"lacks {', '.join(extra['missing'])}; run: {extra['install']}" if extra["missing"] else "installed"
