"""ImageNet-1k, ViT-S/16, 90 epochs.

source    Beyer, Zhai, Kolesnikov, "Better plain ViT baselines for ImageNet-1k", 2022 (arXiv 2205.01580), and the
          config vit_s16_i1k of big_vision; its decay of 1e-4 is not multiplied with the learning rate of 1e-3, ours is,
          so that 0.1 here is 1e-4 there
data      parquet files with encoded images in `image` and class numbers in `label`, as on the Hugging Face hub, in
          JAXNETS_DATA: imagenet/train-*.parquet, imagenet/validation-*.parquet (tested on, last)
command   JAXNETS_DATA=FOLDER jaxnets train configs/imagenet_vit_s16.py
without   its data: --data.source synthetic:image/224x224x3/1000
topology  v5e:2x4
hardware  TPU v3-8, 6 to 7 hours (stated by its authors, not measured here)
expected  76.5 % on the validation files (stated by its authors, not measured here)
departs   images are standardised, not scaled to -1 … 1; Adam's first moment is float32; random cuts are antialiased;
          RandAugment is jaxnets' own, with fourteen operations of the paper
table     `imagenet/*.parquet` in `JAXNETS_DATA` | 76.5 % (stated by its authors, not measured here)
"""

from jaxnets.config import Experiment
from jaxnets.data import Data, Flip, Images, Mixup, RandAugment
from jaxnets.loop import Loop
from jaxnets.models import ViT
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Classification

experiment = Experiment(
    data=Data(
        source="images:imagenet/train-*.parquet,test=imagenet/validation-*.parquet",
        batch_size=1024,
        valid=0.01,
        images=Images(size=224, area=0.05, pool=16384),
        augment=(Flip(), RandAugment(operations=2, magnitude=10.0), Mixup(alpha=0.2)),
    ),
    model=ViT(
        patch=16,
        width=384,
        depth=12,
        heads=6,
        mlp_width=1536,
        pool="mean",
        positions="sincos2d",
        head_width=384,
        dtype="bfloat16",
    ),
    task=Classification(),
    optim=AdamW(lr=1e-3, weight_decay=0.1, clip_norm=1.0, schedule=Cosine(warmup_steps=10_000)),
    loop=Loop(epochs=90, log_every=50, eval_every=2500, save_every=1000, monitor="accuracy", keep_best=False),
)
