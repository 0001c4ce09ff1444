"""Keras 3 on JAX: `model.fit` over numpy arrays, `python keras_fit.py FOLDER STEPS_PER_EXECUTION`.

Runs in the environment of environments.py, without jaxnets.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax  # noqa: E402
import keras  # noqa: E402 (the backend is chosen before)
from answering import answer, given  # noqa: E402


def model(settings: dict[str, Any], shape: tuple[int, ...]) -> keras.Model:
    """The layers of jaxnets.models.MLP or CNN."""
    inputs = x = keras.Input(shape)
    for channels in settings["channels"]:
        x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    for width in settings["widths"]:
        x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(settings["num_classes"])(x))


class Clock(keras.callbacks.Callback):
    """Seconds from the start of the first epoch to the end of the last. Hooks of a batch would make each step wait."""

    began = ended = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = self.began or time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ended = time.perf_counter()


def main() -> None:
    settings, inputs, targets = given()
    network = model(settings, inputs.shape[1:])
    network.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate=settings["lr"],
            beta_1=settings["b1"],
            beta_2=settings["b2"],
            epsilon=settings["eps"],
            weight_decay=settings["weight_decay"],
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=int(sys.argv[2]),
    )

    def fit(epochs: int) -> dict[str, float]:
        clock = Clock()
        batch_size = settings["batch_size"]
        past = network.fit(inputs, targets, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=[clock])
        steps = epochs * len(inputs) // batch_size
        return {"seconds": (clock.ended - clock.began) / steps, "loss": float(past.history["loss"][-1])}

    sizes = [int(weight.size) for weight in map(keras.ops.convert_to_numpy, network.trainable_weights)]
    answer(
        fit,
        epochs=settings["epochs"],
        sizes=sizes,
        dtype=network.dtype,
        versions=f"keras {keras.__version__}, jax {jax.__version__}",
    )


if __name__ == "__main__":
    main()
