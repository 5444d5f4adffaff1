"""Balance over the whole batch

A batch is worked off in micro-batches. `counts_ME` says how often each expert was chosen in each, `mean_ME` its mean
probability there. For balance over the **global** batch every micro-batch uses one and the same $f$: the share of all
choices of all micro-batches. Complete it.
"""

# %% given
import numpy as np


# M micro-batches, E experts
def loss(counts_ME, mean_ME):
    num_experts = counts_ME.shape[1]
    share_E = ...
    losses_M = num_experts * (share_E * mean_ME).sum(1)
    return losses_M.mean()


# %% check
import numpy as np

from moedocs import lite


def cases():
    code, prose = [[3.0, 0.0]] * 4, [[0.0, 3.0]] * 4
    yield case("4 tokens for expert 0, then 4 for expert 1", [code, prose])
    yield case("4 tokens for expert 0, then 2 for expert 1", [code, prose[:2]])
    draw_TE = np.random.default_rng(2).normal(size=(20, 4))
    yield case("micro-batches of 12, 6 and 2 tokens over 4 experts", np.split(draw_TE, [12, 18]))


def case(words, logits):
    routings = [lite.softmax_top_k(logits_TE, 1) for logits_TE in logits]
    share_E = lite.assignment_share(routings)
    counts_ME = np.array([lite.load(routing) for routing in routings])
    mean_ME = np.array([routing.probs_TE.mean(0) for routing in routings])
    expected = np.mean([lite.auxiliary_loss(routing, share_E=share_E) for routing in routings])
    return words, (counts_ME, mean_ME), expected


# %% hint
# Add the counts of all micro-batches before you divide by anything.

# %% solution
share_E = counts_ME.sum(0) / counts_ME.sum()

# %% wrong
# Each micro-batch uses its own share here, so each must be even by itself: text on one subject is punished for
# using the experts of its subject.
share_E = counts_ME / counts_ME.sum(1, keepdims=True)

# %% wrong
# A mean of shares gives every micro-batch the same say, the small ones too. Add the counts, then divide.
share_E = (counts_ME / counts_ME.sum(1, keepdims=True)).mean(0)

# %% wrong
# This is the share of the last micro-batch alone.
share_E = counts_ME[-1] / counts_ME[-1].sum()
