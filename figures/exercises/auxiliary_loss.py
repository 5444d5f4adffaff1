r"""The auxiliary loss in one line

`map_TE` is true where a token chose an expert, `probs_TE` holds the router's probabilities. Complete the auxiliary
loss without its weight, $N \sum_i f_i P_i$, where $f_i$ is expert $i$'s share of all **choices**. At perfect balance
it is 1, whatever $k$ is.
"""


# %% given
# T tokens, E experts
def auxiliary_loss(map_TE, probs_TE):
    num_experts = map_TE.shape[1]
    mean_E = probs_TE.mean(0)  # P, one for each expert
    loss = ...
    return loss


# %% check
import numpy as np

from moedocs import lite


def cases():
    even_TE, lopsided_TE = np.eye(4), np.eye(4)[[0, 0, 0, 1]]
    draw_TE = np.random.default_rng(5).normal(size=(12, 6))
    yield case("4 tokens of which each chooses another of 4 experts", even_TE, 1)
    yield case("4 tokens of which three choose one of 4 experts", lopsided_TE, 1)
    yield case("4 tokens and top-2 of 4 experts", even_TE + np.roll(even_TE, 1, 1) / 2, 2)
    yield case("12 tokens and top-3 of 6 experts", draw_TE, 3)


def case(words, logits_TE, top_k):
    routing = lite.softmax_top_k(logits_TE, top_k)
    return words, (routing.map_TE, routing.probs_TE), lite.auxiliary_loss(routing)


# %% hint
# All choices together are `map_TE.sum()`: with top-2 twice as many as there are tokens. An expert's choices are the
# sum of its column. And do not forget the $N$ in front.

# %% solution
share_E = map_TE.sum(0) / map_TE.sum()  # f
loss = num_experts * (share_E * mean_E).sum()

# %% wrong
# Here `f` is a share of the tokens, not of the choices: with top-k the loss is `k` times too large. Some
# implementations do mean it so, and then perfect balance gives `k`.
loss = num_experts * (map_TE.mean(0) * mean_E).sum()

# %% wrong
# The number of experts in front is missing: so the best value would be 1/N, another one for each model.
loss = (map_TE.sum(0) / map_TE.sum() * mean_E).sum()

# %% wrong
# These are counts, not shares: the loss grows with the number of tokens.
loss = num_experts * (map_TE.sum(0) * mean_E).sum()

# %% wrong
# Only probabilities are left here: what was chosen plays no part, so the loss cannot see where the load is.
loss = num_experts * (mean_E * mean_E).sum()
