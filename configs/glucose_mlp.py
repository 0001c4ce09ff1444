"""The sugar in one person's blood every five minutes, an hour ahead from two hours before, a small perceptron.

source    a sensor's measurements, March to October 2010, public domain, as the package bokeh_sampledata ships them; the
          last fifth of the time is tested, the tenth before it validates
command   pip install "jaxnets[series]" && jaxnets train configs/glucose_mlp.py
hardware  two CPU cores, seconds
expected  MASE below that of a ridge regression of the hour on the two hours: experiments/series_benchmark.py
table     five-minutely, in `bokeh_sampledata` (extra `series`) | MASE below a ridge's
"""

from jaxnets.config import Experiment
from jaxnets.data import Data, Series
from jaxnets.loop import Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Forecasting

experiment = Experiment(
    data=Data(
        source="series:glucose",
        target="glucose",
        context=24,
        batch_size=256,
        series=Series(horizon=12, season=288, gaps="fill", missing="carry"),
    ),
    model=MLP(widths=(128, 128)),
    task=Forecasting(loss="absolute"),
    optim=AdamW(lr=1e-2, weight_decay=0.1, clip_norm=1.0, schedule=Cosine(warmup_steps=100), ema_decay=0.99),
    loop=Loop(steps=1500, log_every=500, eval_every=500, save_every=1500, monitor="mase"),
)
