"""One model on several processes: batches divided by data parallelism, experts by expert parallelism, exactly.

Every rank holds an equal share of a step's sequences, in the order of the ranks. What couples the tokens of a batch
(routing, capacity, balancing) is computed from the joint batch, so that several processes train what one would.
"""

from moedocs.parallel.collectives import Channel, exchanged, gathered, joint_mean, joint_sum, part, whole
from moedocs.parallel.devices import at_home, moved
from moedocs.parallel.dispatch import LocalExperts, expert_parallel_dispatch
from moedocs.parallel.model import (
    JointDepthBlock,
    JointMoELayer,
    divided,
    gradient_norm,
    local_parameters,
    own_rows,
    share_gradients,
    whole_state,
)
from moedocs.parallel.world import ParallelError, World, joined

__all__ = [
    "Channel",
    "JointDepthBlock",
    "JointMoELayer",
    "LocalExperts",
    "ParallelError",
    "World",
    "at_home",
    "divided",
    "exchanged",
    "expert_parallel_dispatch",
    "gathered",
    "gradient_norm",
    "joined",
    "joint_mean",
    "joint_sum",
    "local_parameters",
    "moved",
    "own_rows",
    "part",
    "share_gradients",
    "whole",
    "whole_state",
]
