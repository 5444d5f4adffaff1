"""A number that sees collapse

`counts_LE` says how often each expert of each layer was chosen. Complete the number to watch: in every layer the
share that its busiest expert has, then the mean over the layers. Expert 3 of one layer has nothing to do with expert
3 of the next.
"""

# %% given
import numpy as np


# L layers, E experts
def largest_share(counts_LE):
    share_LE = counts_LE / counts_LE.sum(1, keepdims=True)
    largest = ...
    return largest


# %% check
import numpy as np

from moedocs import lite


def cases():
    for counts in (
        [[8, 0], [0, 8]],
        [[2, 2, 2, 2]],
        [[6, 1, 1, 0], [2, 2, 2, 2]],
        [[1, 0, 7], [6, 1, 1], [3, 3, 2]],
    ):
        by_layer = [lite.load_share(layer).max() for layer in counts]
        yield f"the counts {counts}", (np.array(counts),), np.mean(by_layer)


# %% hint
# `max(1)` takes the largest of each row, so of each layer. Only then take the mean.

# %% solution
largest = share_LE.max(1).mean()

# %% wrong
# The layers are averaged by the number of the expert first, and two layers that both collapsed can look even.
largest = share_LE.mean(0).max()

# %% wrong
# This is the busiest expert of all layers: one bad layer looks like a bad model.
largest = share_LE.max()

# %% wrong
# The mean share of a layer is 1/N always: it says nothing.
largest = share_LE.mean()
