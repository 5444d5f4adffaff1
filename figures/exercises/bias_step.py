"""One step of the bias

After each training step the bias of every expert moves by a fixed amount, the `rate`: down for who had more choices
than the mean, up for who had fewer, and not at all for who had just the mean. Complete the new bias.
"""

# %% given
import numpy as np


# E experts
def moved(bias_E, counts_E, rate):
    mean = counts_E.mean()
    new_E = ...
    return new_E


# %% check
import numpy as np

from moedocs import lite


def cases():
    for counts, bias, rate in (
        ([5, 1], [0.0, 0.0], 0.1),
        ([4, 4, 4], [0.1, -0.2, 0.0], 0.1),
        ([9, 0, 3, 4], [0.0, 0.5, 0.0, 0.0], 0.01),
        ([2, 3, 2, 2, 6], [0.0, 0.0, 0.0, 0.0, -1.0], 0.25),
    ):
        words = f"counts {counts}, bias {bias} and rate {rate}"
        yield words, (np.array(bias), np.array(counts), rate), lite.updated_bias(bias, counts, rate)


# %% hint
# `np.sign` gives 1, 0 or −1. An expert with too few choices needs a **higher** bias, so it is the sign of the mean
# minus the count.

# %% solution
new_E = bias_E + rate * np.sign(mean - counts_E)

# %% wrong
# The sign is turned round: whoever has too much would be given still more, and the router would collapse.
new_E = bias_E + rate * np.sign(counts_E - mean)

# %% wrong
# The step goes with the distance here; the rule takes a step of one size, however far the count is from the mean.
new_E = bias_E + rate * (mean - counts_E)

# %% wrong
# Who has just the mean should stay; here it moves as if it had too much.
new_E = bias_E + rate * np.where(counts_E < mean, 1, -1)

# %% wrong
# The bias is a running sum of steps: the old one has to stay in.
new_E = rate * np.sign(mean - counts_E)
