"""The experts choose

Turn the table round: not each token takes its best experts, but each expert takes the `capacity` tokens that have the
highest probability for it. Complete the numbers of the tokens that one expert takes.
"""

# %% given
import numpy as np


# T tokens, E experts
def expert_choice(probs_TE, capacity):
    map_TE = np.zeros(probs_TE.shape, dtype=bool)
    for expert in range(probs_TE.shape[1]):
        tokens = ...
        map_TE[tokens, expert] = True
    return map_TE


# %% check
import numpy as np

from moedocs import lite


def cases():
    few = [[2.0, 0.0], [1.0, 0.0], [0.0, 0.5]]
    yield case("3 tokens that prefer experts 0, 0 and 1, and 1 slot", few, 1)
    yield case("the same 3 tokens, and 2 slots", few, 2)
    draw_TE = np.random.default_rng(7).normal(size=(10, 4))
    yield case("10 tokens, 4 experts and 3 slots", draw_TE, 3)
    yield case("10 tokens that all prefer expert 2, 4 experts and 5 slots", np.add(draw_TE, [0, 0, 4, 0]), 5)


def case(words, logits_TE, capacity):
    routing = lite.expert_choice(logits_TE, capacity)
    return words, (routing.probs_TE, capacity), routing.map_TE


# %% hint
# `probs_TE[:, expert]` is the column of an expert. `np.argsort` gives the places from the lowest value to the
# highest, so sort the negative, and take the first `capacity`.

# %% solution
tokens = np.argsort(-probs_TE[:, expert])[:capacity]

# %% wrong
# `np.argsort` begins with the lowest: the expert takes the tokens that want it least.
tokens = np.argsort(probs_TE[:, expert])[:capacity]

# %% wrong
# Here the tokens choose: an expert gets those whose first choice it is, cut off at its capacity. Whoever is
# nobody's first choice stays empty.
tokens = np.flatnonzero(probs_TE.argmax(1) == expert)[:capacity]

# %% wrong
# Only the best token is taken; an expert has `capacity` slots to fill.
tokens = np.argmax(probs_TE[:, expert])
