"""Handwritten digits (8 × 8, UCI via scikit-learn) told by 8 numbers each: an autoencoder.

source    Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006
command   jaxnets train configs/digits_autoencoder.py
hardware  two CPU cores, under a minute
expected  test mse below that of as many principal components (scikit-learn's PCA, the same splits)
table     embedded | mean squared error below that of as many principal components
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import Autoencoder
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Autoencoding

experiment = Experiment(
    data=Data(source="digits", batch_size=64),
    model=Autoencoder(embedding=8, widths=(256, 128)),
    task=Autoencoding(),
    optim=AdamW(lr=2e-3, weight_decay=0.01, schedule=Cosine()),
    loop=Loop(steps=1500, log_every=100, eval_every=250, save_every=500, monitor="mse"),
)
