import numpy as np

from moedocs import lite

# Change anything, then Run: the figure above draws what is in `table`.
num_experts = 4
tilts = np.arange(-4, 5) / 2


def shares(tilt):
    """Equal ratios between neighbours: expert 1 has 2^tilt times as much as the last."""
    powers = 2.0 ** np.linspace(tilt, 0, num_experts)
    return powers / powers.sum()


def loss(f, P):
    return num_experts * (f * P).sum()


def gradient(f, P):
    """By the router logits, through the softmax: f has no gradient."""
    return num_experts * P * (f - (f * P).sum(-1, keepdims=True))


table = [
    {"num_experts": num_experts, "load_tilt": a, "probability_tilt": b, "expert": i + 1}
    | {"load": shares(a)[i], "probability": shares(b)[i]}
    | {"gradient": gradient(shares(a), shares(b))[i], "loss": loss(shares(a), shares(b))}
    for a in tilts
    for b in tilts
    for i in range(num_experts)
]

# A router with nothing else to learn: 2,000 tokens with tastes of their own,
# and one liking per expert, lowered step by step along the gradient.
tastes_TE = np.random.default_rng(0).normal(size=(2000, num_experts))
liking_E = np.log(shares(2.0))
for step in range(61):
    routing = lite.softmax_top_k(tastes_TE + liking_E, top_k=1)
    f = lite.load_share(lite.load(routing))
    if step % 10 == 0:
        print(f"step {step:2}: loss {lite.auxiliary_loss(routing):.3f}, busiest {f.max():.1%}")
    liking_E = liking_E - 0.2 * gradient(f, routing.probs_TE).mean(0)
