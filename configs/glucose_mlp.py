"""The sugar in one person's blood every five minutes, an hour ahead from two hours before, a small perceptron.

source    a sensor's measurements, March to October 2010, public domain, as the package bokeh_sampledata ships them; the
          last fifth of the time is tested, the tenth before it validates
command   pip install "jaxnets[series]" && jaxnets train configs/glucose_mlp.py
hardware  one CPU core, seconds
expected  MASE < 0.30 (season: a day), where the value a day before has 0.99, the last value 0.38 and a ridge regression
          of the hour on the two hours 0.34: experiments/series_benchmark.py
measured  0.2928 ± 0.0002 of the test part, three seeds
table     five-minutely, in `bokeh_sampledata` (extra `series`) | MASE < 0.30; a day before: 0.99, a ridge: 0.34
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
