"""Shakespeare, byte by byte (tinyshakespeare.txt in JAXNETS_DATA), a small GPT.

source    the CPU setting of nanoGPT: 4 layers, 4 heads, width 128, context 64, batch 12, 2000 steps (it reports 1.88)
command   JAXNETS_DATA=FOLDER jaxnets train configs/shakespeare_gpt.py
hardware  two CPU cores, about 2 minutes
expected  validation loss at most 1.85 nats per character (all characters here are one byte) on the last tenth, which
          is nanoGPT's; the first twentieth is the test split
table     `tinyshakespeare.txt` in `JAXNETS_DATA` | ≤ 1.85 nats per character
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import GPT
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import LanguageModelling

experiment = Experiment(
    data=Data(source="text:tinyshakespeare.txt", batch_size=12, context=64, valid=0.1, test=0.05),
    model=GPT(context=64, width=128, depth=4, heads=4),
    task=LanguageModelling(),
    optim=AdamW(lr=2e-3, b2=0.99, weight_decay=0.1, clip_norm=1.0, schedule=Cosine(warmup_steps=100)),
    loop=Loop(steps=2000, log_every=100, eval_every=500, save_every=500),
)
