"""Discs and rectangles under noise (synthetic, 32 × 32, four classes), a small U-Net.

source    Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015
command   jaxnets train configs/shapes_unet.py
hardware  two CPU cores, minutes
expected  test miou at least 0.9
table     drawn by the program | miou ≥ 0.9
"""

from jaxnets.config import Experiment
from jaxnets.data import Data
from jaxnets.loop import Loop
from jaxnets.models import UNet
from jaxnets.optim import AdamW, Cosine
from jaxnets.tasks import Segmentation

experiment = Experiment(
    data=Data(source="synthetic:masks/32x32x3/4/1024", batch_size=16),
    model=UNet(width=8, depth=2),
    task=Segmentation(),
    optim=AdamW(lr=3e-3, weight_decay=0.01, schedule=Cosine()),
    loop=Loop(steps=200, log_every=20, eval_every=100, save_every=100, monitor="miou"),
)
