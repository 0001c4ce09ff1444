"""SST-2 sentences (sst2_{train,dev,test}.tsv in JAXNETS_DATA), positive or negative, from scratch.

source    fastText (Joulin et al., 2017) without pairs of words: the mean of the vectors of a sentence's words
command   JAXNETS_DATA=FOLDER jaxnets train configs/sst2.py
hardware  two CPU cores, about a minute
expected  test accuracy at least 0.80 (mean of seeds 0 to 4)
table     `sst2_*.tsv` in `JAXNETS_DATA` | ≥ 0.80 (mean of 5 seeds)
"""

from jaxnets.config import Experiment
from jaxnets.data import Data, Texts
from jaxnets.loop import Loop
from jaxnets.models import TextEncoder
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(
        source="texts:sst2_{train,dev,test}.tsv",
        target="1",
        batch_size=64,
        context=48,
        texts=Texts(column="0", header=False, tokenizer="words", size=20000, least=1),
    ),
    model=TextEncoder(width=32, depth=0, word_dropout=0.5, dropout=0.3),
    task=Classification(),
    optim=AdamW(lr=3e-3, weight_decay=0.01, schedule=Cosine()),
    loop=Loop(epochs=6, log_every=100, eval_every=108, save_every=216, monitor="accuracy"),
)
