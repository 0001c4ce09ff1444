"""One virtual environment for each other framework, made at its first use and kept beside the prepared data."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from jaxnets.data.cache import cache_dir

# The same jax as here, so that two trainers are compared and not two compilers. torch takes no more than it needs from
# an index of builds without CUDA, if pip is told of one (PIP_INDEX_URL); its own build works on a CPU as well.
PACKAGES = {
    "keras": ("keras==3.15.1", f"jax=={version('jax')}"),
    "lightning": ("lightning==2.6.6", "torch==2.13.0"),
    "torch": ("torch", f"numpy=={version('numpy')}", f"pillow=={version('pillow')}", "pyarrow", "soundfile"),
}


def interpreter(framework: str) -> Path:
    """The python of the environment of one of `PACKAGES`, which is made if it is not there.

    Raises subprocess.CalledProcessError, after pip's own words, if the packages cannot be had.
    """
    packages = PACKAGES[framework]
    folder = cache_dir() / "rivals" / "-".join([*packages, f"python{sys.version_info[0]}.{sys.version_info[1]}"])
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        print(f"installing {' and '.join(packages)} in {folder}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        complete.touch()
    return python
