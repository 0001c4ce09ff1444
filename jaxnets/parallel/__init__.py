"""The plan: which devices a step runs on, where every array lives, and the step compiled for them.

Models, tasks and steps never ask how many devices there are; only this room does.
"""

from jaxnets.parallel.layout import Layout as Layout
from jaxnets.parallel.layout import layout as layout
from jaxnets.parallel.plan import Plan as Plan
from jaxnets.parallel.plan import check_batch as check_batch
from jaxnets.parallel.plan import check_tensor as check_tensor
from jaxnets.parallel.program import Compiled as Compiled
from jaxnets.parallel.program import compile_step as compile_step
from jaxnets.parallel.program import lower_and_count as lower_and_count
from jaxnets.parallel.sharding import bytes_on_one_device as bytes_on_one_device
