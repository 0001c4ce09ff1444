"""The temperature of the sea every half hour, a day ahead from two days before, a small PatchTST.

source    NERACOOS station B01, Western Maine Shelf, February 2016 to March 2017, as the package bokeh_sampledata ships
          it; the last fifth of the time is tested, the tenth before it validates
command   pip install "jaxnets[series]" && jaxnets train configs/sea_temperature_patchtst.py
hardware  two CPU cores, about a minute
expected  MASE 0.42 (season: a day), where the value a day before has 0.57; of this winter a ridge regression (0.41) and
          the last value (0.40) say a little more: experiments/series_benchmark.py
table     half-hourly, in `bokeh_sampledata` (extra `series`) | MASE 0.42, the value a day before: 0.57, a ridge: 0.41
"""

from jaxnets.config import Experiment
from jaxnets.data import Data, Series
from jaxnets.loop import Loop
from jaxnets.models import PatchTST
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
    model=PatchTST(patch=16, stride=8, width=32, depth=2, heads=4, mlp_width=64, dropout=0.1),
    task=Forecasting(loss="absolute"),
    optim=AdamW(lr=1e-3, weight_decay=0.01, clip_norm=1.0, schedule=Cosine(warmup_steps=100), ema_decay=0.99),
    loop=Loop(steps=1500, log_every=150, eval_every=150, save_every=750, monitor="mase"),
)
