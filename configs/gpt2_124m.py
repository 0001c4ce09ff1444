"""GPT-2 124M on ten billion tokens of FineWeb.

source    Radford et al., 2019, trained as llm.c and build-nanogpt do: half a million tokens a step, AdamW with the
          numbers of GPT-3 (Brown et al., 2020), a warm-up of 700 steps, a cosine to a tenth
data      files of uint16 tokens, with llm.c's header or without (nanoGPT's train.bin), in JAXNETS_DATA:
          fineweb10B/fineweb_train_*.bin, fineweb10B/fineweb_val_*.bin
command   JAXNETS_DATA=FOLDER jaxnets train configs/gpt2_124m.py
few chips … --optim.accumulate 32 on one GPU; the whole batch at once takes more than the 16 GB of 64 TPU v5e chips
without   its data: --data.source synthetic:tokens/50257
topology  v5e:16x16
hardware  8 × A100 80 GB, 90 minutes (stated by llm.c, not measured here)
expected  at most 3.29 nats a token on the validation files (llm.c: 3.285 with a cosine to 0, as reported by
          modded-nanogpt; not measured here)
departs   biases, norms and positions do not decay, positions did there; the test split is a thousandth of the train
          files
table     `fineweb10B/*.bin` in `JAXNETS_DATA` | ≤ 3.29 nats per token (stated by llm.c, not measured here)
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import GPT
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import LanguageModelling

experiment = Experiment(
    data=Data(
        source="tokens:fineweb10B/fineweb_train_*.bin,valid=fineweb10B/fineweb_val_*.bin",
        vocabulary=50257,
        context=1024,
        batch_size=512,
        test=0.001,
    ),
    model=GPT(
        context=1024,
        width=768,
        depth=12,
        heads=12,
        positions="learned",
        vocabulary_multiple=128,
        dtype="bfloat16",
    ),
    task=LanguageModelling(),
    optim=AdamW(
        lr=6e-4,
        b2=0.95,
        weight_decay=0.1,
        clip_norm=1.0,
        schedule=Cosine(warmup_steps=700, end=0.1),
    ),
    loop=Loop(steps=19_073, log_every=10, eval_every=1000, save_every=1000),
)
