import numpy as np

from moedocs import lite

# Change anything, then Run: the figure above draws what is in `table`.
num_tokens, skew = 64, 0.0
config = lite.RoutingConfig(
    num_experts=8,
    top_k=2,
    capacity_factor=1.0,
    capacity_order="order",  # or "probability", "random"
)

# The router likes expert 1 best, expert 2 less, and so on, as strongly
# as `skew` says; noise makes up each token's mind.
rng = np.random.default_rng(0)
experts_E = np.arange(1, config.num_experts + 1)
popularity_E = experts_E**-skew
logits_TE = np.log(popularity_E) + rng.gumbel(size=(num_tokens, len(experts_E)))

slots = lite.capacity(num_tokens, config)
chosen = lite.softmax_top_k(logits_TE, config.top_k, renormalise=False)
routing = lite.with_capacity(chosen, slots, order=config.capacity_order, generator=rng)
load_E, dropped_E = lite.load(routing), routing.dropped_TE.sum(0)

chance_E = lite.inclusion_probability(popularity_E, config.top_k)
overflow_E = [lite.binomial_overflow(num_tokens, q, slots) for q in chance_E]
expected = sum(overflow_E) / load_E.sum()

# Who is dropped: every choice, in token order, then by its router weight
dropped_A = routing.dropped_TE[chosen.map_TE]
sorted_A = dropped_A[chosen.weights_TE[chosen.map_TE].argsort()]

print("load   ", load_E)
print("dropped", dropped_E)
print(f"{dropped_E.sum() / load_E.sum():.1%} of the choices are dropped,")
print(f"{expected:.1%} are expected to be")

table = {
    "router": "by skew",
    "num_experts": config.num_experts,
    "top_k": config.top_k,
    "num_tokens": num_tokens,
    "skew": skew,
    "policy": config.capacity_order,
    "group": "batch",
    "expert": experts_E,
    "load": load_E,
    "expected_load": num_tokens * chance_E,
    "capacity": slots,
    "expected_share": expected,
}
for quarter in range(4):
    table[f"place_{quarter + 1}"] = np.array_split(dropped_A, 4)[quarter].mean()
    table[f"weight_{quarter + 1}"] = np.array_split(sorted_A, 4)[quarter].mean()
