"""The running interpreter's own library: the source of its top-level modules, and its help topics, as bytes."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds


class Builder(tfds.core.GeneratorBasedBuilder):
    """One example a file, in order of name; modules of the top level, pydoc's topics last."""

    VERSION = tfds.core.Version("1.0.0")
    name = "python_text"

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            disable_shuffling=True, features=tfds.features.FeaturesDict({"text": tfds.features.Text()})
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"rows": self._generate_examples()}

    def _generate_examples(self) -> Any:
        library = Path(sysconfig.get_path("stdlib"))
        files = [*sorted(library.glob("*.py")), library / "pydoc_data" / "topics.py"]
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in files if path.is_file()]
        for index, text in enumerate(text for text in texts if text):
            yield index, {"text": text}
