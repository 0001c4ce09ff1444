"""Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998): 1797 images of 8 × 8, values 0 to 16."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from jaxnets.data.builtin.sklearn_files import read_gz


class Builder(tfds.core.GeneratorBasedBuilder):
    """Images as PNG, values scaled to 0..255."""

    VERSION = tfds.core.Version("1.0.0")
    name = "digits"

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            )
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"rows": self._generate_examples()}

    def _generate_examples(self) -> Any:
        table = read_gz("digits.csv.gz", delimiter=",")
        for index, row in enumerate(table):
            pixels = np.round(row[:64].reshape(8, 8) * (255 / 16)).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            buffer.seek(0)
            yield index, {"image": buffer, "label": int(row[64])}
