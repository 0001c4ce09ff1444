"""Breast cancer Wisconsin, diagnostic (Street, Wolberg and Mangasarian, 1993): 569 rows, 30 features."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxnets.data.builtin.sklearn_files import read_csv

FEATURES = (
    "mean radius",
    "mean texture",
    "mean perimeter",
    "mean area",
    "mean smoothness",
    "mean compactness",
    "mean concavity",
    "mean concave points",
    "mean symmetry",
    "mean fractal dimension",
    "radius error",
    "texture error",
    "perimeter error",
    "area error",
    "smoothness error",
    "compactness error",
    "concavity error",
    "concave points error",
    "symmetry error",
    "fractal dimension error",
    "worst radius",
    "worst texture",
    "worst perimeter",
    "worst area",
    "worst smoothness",
    "worst compactness",
    "worst concavity",
    "worst concave points",
    "worst symmetry",
    "worst fractal dimension",
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Rows of float64 features with a label."""

    VERSION = tfds.core.Version("1.0.0")
    name = "breast_cancer"

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "features": tfds.features.Tensor(
                        shape=(len(FEATURES),),
                        dtype=np.float64,
                        doc=tfds.features.Documentation(desc=",".join(FEATURES)),
                    ),
                    "label": tfds.features.ClassLabel(names=["malignant", "benign"]),
                }
            )
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"rows": self._generate_examples()}

    def _generate_examples(self) -> Any:
        _, table = read_csv("breast_cancer.csv")
        for index, row in enumerate(table):
            yield index, {"features": row[:-1], "label": int(row[-1])}
