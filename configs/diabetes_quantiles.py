"""Diabetes progression (442 rows, 10 features, via scikit-learn), intervals by quantile regression.

source    Koenker and Bassett, "Regression Quantiles", 1978, with a multilayer perceptron in place of a linear model
command   jaxnets train configs/diabetes_quantiles.py
hardware  two CPU cores, a few seconds
expected  test pinball at most 1.05 × scikit-learn's linear QuantileRegressor (mean over data.split_seed 0 to 4)
measured  13.60 against 13.25, 1.027 times; of the 90 % intervals 85 % hold
table     embedded | pinball ≤ 1.05 × linear quantile regression's on the same splits
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import QuantileRegression

experiment = Experiment(
    data=Data(source="diabetes", batch_size=64),
    model=MLP(widths=(64,), activation="gelu", dropout=0.3),
    task=QuantileRegression(quantiles=(0.05, 0.25, 0.5, 0.75, 0.95)),
    optim=AdamW(lr=2e-3, weight_decay=1.0, schedule=Cosine(), ema_decay=0.99),
    loop=Loop(steps=400, log_every=50, eval_every=50, save_every=200, monitor="pinball"),
)
