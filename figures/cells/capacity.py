import numpy as np

from moedocs import lite

# Change anything, then Run: the figure above draws what is in `table`.
num_tokens, skew = 64, 0.0
config = lite.RoutingConfig(num_experts=8, top_k=2, capacity_factor=1.0)

# The router likes expert 1 best, expert 2 less, and so on, as strongly
# as `skew` says; noise makes up each token's mind.
experts_E = np.arange(1, config.num_experts + 1)
popularity_E = experts_E**-skew
noise_TE = np.random.default_rng(0).gumbel(size=(num_tokens, len(experts_E)))
logits_TE = np.log(popularity_E) + noise_TE

slots = lite.capacity(num_tokens, config)
routing = lite.with_capacity(lite.softmax_top_k(logits_TE, config.top_k), slots)
load_E = lite.load(routing)
dropped_E = routing.dropped_TE.sum(0)
chance_E = lite.inclusion_probability(popularity_E, config.top_k)
overflow_E = [lite.binomial_overflow(num_tokens, p, slots) for p in chance_E]

print("load   ", load_E)
print("dropped", dropped_E)
print(f"{dropped_E.sum() / load_E.sum():.1%} of the choices are dropped,")
print(f"{sum(overflow_E) / load_E.sum():.1%} are expected to be")

table = {
    "num_experts": config.num_experts,
    "top_k": config.top_k,
    "num_tokens": num_tokens,
    "skew": skew,
    "capacity_factor": config.capacity_factor,
    "capacity": slots,
    "expert": experts_E,
    "load": load_E,
    "dropped": dropped_E,
    "expected_load": num_tokens * chance_E,
    "expected_dropped": overflow_E,
}
