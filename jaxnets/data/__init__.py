"""From a source to ordered, resumable batches."""

from jaxnets.data.augment import Augmentation as Augmentation
from jaxnets.data.augment import ColorJitter as ColorJitter
from jaxnets.data.augment import Crop as Crop
from jaxnets.data.augment import CutMix as CutMix
from jaxnets.data.augment import Cutout as Cutout
from jaxnets.data.augment import Flip as Flip
from jaxnets.data.augment import Mixup as Mixup
from jaxnets.data.augment import RandomErasing as RandomErasing
from jaxnets.data.augment import RepeatedAugmentation as RepeatedAugmentation
from jaxnets.data.augment import augment as augment
from jaxnets.data.checks import check as check
from jaxnets.data.order import order as order
from jaxnets.data.order import orders as orders
from jaxnets.data.order import shard as shard
from jaxnets.data.pipeline import evaluation_ids as evaluation_ids
from jaxnets.data.pipeline import fits_on_device as fits_on_device
from jaxnets.data.pipeline import gather as gather
from jaxnets.data.schema import Dataset as Dataset
from jaxnets.data.schema import Schema as Schema
from jaxnets.data.schema import Split as Split
from jaxnets.data.schema import preprocess as preprocess
from jaxnets.data.source import Data as Data
from jaxnets.data.source import load as load
