import numpy as np

from moedocs.lite import (
    RoutingConfig,
    binomial_overflow,
    capacity,
    inclusion_probability,
    load,
    softmax_top_k,
    with_capacity,
)

# Change anything here, then Run: whatever ends up in `table` is what the figure above draws.
num_tokens, skew = 64, 0.0
config = RoutingConfig(num_experts=8, top_k=2, capacity_factor=1.0)

# A router that prefers expert 1 over expert 2 over ... as strongly as `skew` says, with Gumbel noise for the tokens.
popularity_E = np.arange(1, config.num_experts + 1) ** -skew
noise_TE = np.random.default_rng(0).gumbel(size=(num_tokens, config.num_experts))
logits_TE = np.log(popularity_E) + noise_TE

slots = capacity(num_tokens, config)
routing = with_capacity(softmax_top_k(logits_TE, config), slots)
load_E, dropped_E = load(routing), routing.dropped_TE.sum(0)
chance_E = inclusion_probability(popularity_E, config.top_k)

print("load   ", load_E)
print("dropped", dropped_E, f"= {dropped_E.sum() / load_E.sum():.1%} of the assignments")

table = [
    {
        "num_experts": config.num_experts,
        "top_k": config.top_k,
        "num_tokens": num_tokens,
        "skew": skew,
        "capacity_factor": config.capacity_factor,
        "expert": expert + 1,
        "capacity": slots,
        "load": load_E[expert],
        "dropped": dropped_E[expert],
        "expected_load": num_tokens * chance_E[expert],
        "expected_dropped": binomial_overflow(num_tokens, chance_E[expert], slots),
    }
    for expert in range(config.num_experts)
]
