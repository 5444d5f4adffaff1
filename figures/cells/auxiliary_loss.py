import numpy as np

from moedocs import lite

# Change anything, then Run: the figure above draws what is in `table`.
num_experts = 4
tilts = np.arange(-4, 5) / 2  # expert 1 has 2^tilt times as much as the last
experts = np.arange(1, num_experts + 1)

ladder = 2.0 ** np.linspace(tilts, 0, num_experts).T
ladder = ladder / ladder.sum(1, keepdims=True)
f, P = ladder[:, None, :], ladder[None, :, :]  # each load with each P

loss = num_experts * (f * P).sum(-1, keepdims=True)
gradient = P * (num_experts * f - loss)  # by the logits of P; f has none

a, b = tilts[:, None, None], tilts[None, :, None]
grid = np.broadcast_arrays(a, b, experts, f, P, gradient, loss)
columns = [part.ravel() for part in grid]
table = {
    "num_experts": num_experts,
    "load_tilt": columns[0],
    "probability_tilt": columns[1],
    "expert": columns[2],
    "load": columns[3],
    "probability": columns[4],
    "gradient": columns[5],
    "loss": columns[6],
}

# A router with nothing else to learn: 2,000 tokens with tastes of their own,
# and one liking per expert, lowered step by step along the same gradient.
tastes_TE = np.random.default_rng(0).normal(size=(2000, num_experts))
liking_E = np.log(ladder[-1])
for step in range(61):
    routing = lite.softmax_top_k(tastes_TE + liking_E, top_k=1)
    share_E = lite.load_share(lite.load(routing))
    if step % 10 == 0:
        value = lite.auxiliary_loss(routing)
        print(f"step {step:2}: loss {value:.3f}, busiest {share_E.max():.1%}")
    mean_T1 = (share_E * routing.probs_TE).sum(1, keepdims=True)
    slope_TE = num_experts * routing.probs_TE * (share_E - mean_T1)
    liking_E = liking_E - 0.2 * slope_TE.mean(0)
