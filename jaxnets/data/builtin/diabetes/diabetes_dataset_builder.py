"""Diabetes progression after a year (Efron et al., 2004): 442 rows, 10 features in their own units."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxnets.data.builtin.sklearn_files import read_gz

FEATURES = (
    "age",
    "sex",
    "bmi",
    "bp",
    "s1",
    "s2",
    "s3",
    "s4",
    "s5",
    "s6",
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Rows of float64 features with a real target."""

    VERSION = tfds.core.Version("1.0.0")
    name = "diabetes"

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "features": tfds.features.Tensor(
                        shape=(len(FEATURES),),
                        dtype=np.float64,
                        doc=tfds.features.Documentation(desc=",".join(FEATURES)),
                    ),
                    "target": tfds.features.Scalar(dtype=np.float64),
                }
            )
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"rows": self._generate_examples()}

    def _generate_examples(self) -> Any:
        features, targets = read_gz("diabetes_data_raw.csv.gz"), read_gz("diabetes_target.csv.gz")
        for index, (row, target) in enumerate(zip(features, targets, strict=True)):
            yield index, {"features": row, "target": float(target)}
