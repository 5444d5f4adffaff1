"""Loss of dense and sparse models for the same training compute, at five budgets.

Sparse in width (experts), in depth, or in both. A token takes as many FLOPs through every mixture of experts as through
the dense model, routers on top; models sparse in depth take fewer, and spend what they save on more steps. As the rate
is constant, one training shows a model at every budget: it is the rate that was best at the largest one.
"""

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.cost import forward_flops
from moedocs.lab import small
from moedocs.lab.training import Run

RATES = small.RATES
SEEDS = small.SEEDS
BUDGETS = (40, 80, 160, 320, 640)  # in steps of the dense model
BALANCE = BalanceConfig(auxiliary_weight=0.01)
WIDTH = 128  # of the dense network, and of all experts of a token together
DEPTH = DepthConfig(capacity=0.125)
# 6 of 14 choices do nothing, 43 %: in the staged model 44 % of all (token, block) pairs are skipped.
NO_OPS = 6


def _experts(num_experts: int, top_k: int, no_op_experts: int = 0) -> RoutingConfig:
    return RoutingConfig(
        num_experts=num_experts,
        top_k=top_k,
        renormalise=top_k > 1,  # the weight of a single expert would always be 1, and teach the router nothing
        no_op_experts=no_op_experts,
        balance=BALANCE,
    )


MODELS: dict[str, TransformerConfig] = {
    "dense": small.model(d_ff=WIDTH),
    **{
        f"moe-{num_experts}/k{top_k}": small.model(d_ff=WIDTH // top_k, routing=_experts(num_experts, top_k))
        for top_k in (1, 2)
        for num_experts in (4, 8, 16, 32)
    },
    "mod": small.model(d_ff=WIDTH, depth=DEPTH),
    "staged": small.model(d_ff=WIDTH, routing=_experts(8, 1), depth=DEPTH),
    "integrated": small.model(d_ff=WIDTH, routing=_experts(8, 1, no_op_experts=NO_OPS)),
}
ARMS = tuple(MODELS)


def relative_flops(arm: str) -> float:
    """FLOPs per token over those of the dense model, with no-ops chosen as often as experts."""
    length = small.training(RATES[0], 0, BUDGETS[-1]).sequence_length
    return forward_flops(MODELS[arm], length) / forward_flops(MODELS["dense"], length)


def steps_of(arm: str) -> tuple[int, ...]:
    """After how many steps an arm has taken as many training FLOPs as the dense model at each budget."""
    return tuple(round(steps / relative_flops(arm)) for steps in BUDGETS)


def run(arm: str, learning_rate: float, seed: int) -> Run:
    """One training of an arm, looked at where it has read as many tokens as the dense one, and taken as many FLOPs."""
    look_at = tuple(sorted({*BUDGETS, *steps_of(arm)}))
    return Run(
        model=MODELS[arm],
        training=small.training(learning_rate, seed, look_at[-1]),
        domains=small.DOMAINS,
        look_at=look_at,
    )
