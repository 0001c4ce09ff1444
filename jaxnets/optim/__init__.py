"""Optimizers from traced numbers: optax's transformations, wrapped so that a step knows what trains and what is tested.

configs say what is wanted, algorithms build it, groups treat some leaves differently, optimizer puts it together.
"""

from jaxnets.optim.configs import SGD as SGD
from jaxnets.optim.configs import AdaBelief as AdaBelief
from jaxnets.optim.configs import Adafactor as Adafactor
from jaxnets.optim.configs import Adagrad as Adagrad
from jaxnets.optim.configs import Adam as Adam
from jaxnets.optim.configs import AdamW as AdamW
from jaxnets.optim.configs import Custom as Custom
from jaxnets.optim.configs import Group as Group
from jaxnets.optim.configs import Lamb as Lamb
from jaxnets.optim.configs import Lion as Lion
from jaxnets.optim.configs import Muon as Muon
from jaxnets.optim.configs import NAdamW as NAdamW
from jaxnets.optim.configs import NovoGrad as NovoGrad
from jaxnets.optim.configs import Optim as Optim
from jaxnets.optim.configs import Prodigy as Prodigy
from jaxnets.optim.configs import RAdam as RAdam
from jaxnets.optim.configs import RMSProp as RMSProp
from jaxnets.optim.configs import ScheduleFreeAdamW as ScheduleFreeAdamW
from jaxnets.optim.groups import check_groups as check_groups
from jaxnets.optim.groups import is_stacked as is_stacked
from jaxnets.optim.groups import path_of as path_of
from jaxnets.optim.loss_scale import with_loss_scale as with_loss_scale
from jaxnets.optim.optimizer import from_optax as from_optax
from jaxnets.optim.optimizer import learning_rate as learning_rate
from jaxnets.optim.optimizer import optimizer as optimizer
from jaxnets.schedules import WSD as WSD
from jaxnets.schedules import Constant as Constant
from jaxnets.schedules import Cosine as Cosine
from jaxnets.schedules import Linear as Linear
from jaxnets.schedules import OneCycle as OneCycle
from jaxnets.schedules import Rsqrt as Rsqrt
