"""Wine recognition (Aeberhard and Forina, 1991): 178 rows, 13 features, 3 cultivars."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxnets.data.builtin.sklearn_files import read_csv

FEATURES = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Rows of float64 features with a label."""

    VERSION = tfds.core.Version("1.0.0")
    name = "wine"

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "features": tfds.features.Tensor(
                        shape=(len(FEATURES),),
                        dtype=np.float64,
                        doc=tfds.features.Documentation(desc=",".join(FEATURES)),
                    ),
                    "label": tfds.features.ClassLabel(names=["class_0", "class_1", "class_2"]),
                }
            )
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"rows": self._generate_examples()}

    def _generate_examples(self) -> Any:
        _, table = read_csv("wine_data.csv")
        for index, row in enumerate(table):
            yield index, {"features": row[:-1], "label": int(row[-1])}
