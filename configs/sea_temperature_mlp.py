"""The temperature of the sea every half hour, a day ahead from two days before, a small perceptron.

source    NERACOOS station B01, Western Maine Shelf, February 2016 to March 2017, as the package bokeh_sampledata ships
          it; the last fifth of the time is tested, the tenth before it validates
command   pip install "jaxnets[series]" && jaxnets train configs/sea_temperature_mlp.py
hardware  two CPU cores, under a minute
expected  MASE below 1 (season: a day), below that of the value a day before, and below a ridge regression's:
          experiments/series_benchmark.py
"""

from jaxnets.config import Experiment
from jaxnets.data import Data, Series
from jaxnets.loop import Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Forecasting

experiment = Experiment(
    data=Data(
        source="series:sea_temperature",
        target="temperature",
        context=96,
        batch_size=128,
        series=Series(horizon=48, season=48, gaps="fill"),
    ),
    model=MLP(widths=(128, 128), activation="gelu", dropout=0.2),
    task=Forecasting(loss="absolute"),
    optim=AdamW(lr=5e-4, weight_decay=0.1, clip_norm=1.0, schedule=Cosine(warmup_steps=50), ema_decay=0.99),
    loop=Loop(steps=600, log_every=100, eval_every=100, save_every=300, monitor="mase"),
)
