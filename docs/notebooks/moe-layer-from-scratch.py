# %% [markdown]
# # The layer from scratch
#
# Send a sentence, byte by byte, through a layer of several experts. Then erase one of the experts, set every weight in
# it to zero, and send the sentence through again. Most bytes come out exactly as before, to the last bit. In a dense
# layer of the same kind every part has a say in every byte.
#
# This page builds such a layer out of plain tensor operations and performs the erasure at the end. Each section is a
# formula, the lines that compute it, and a look at what they made. Before the exercises the result is held against the
# tested engine behind the other pages of this site. The whole page is one program, run when the site was built: take it
# along as [a notebook](moe-layer-from-scratch/moe-layer-from-scratch.ipynb) or as
# [a script](moe-layer-from-scratch/moe-layer-from-scratch.py); either wants the environment of this site's repository.
#
# The end of a name tells the shape: $T$ tokens, $D$ width of the model, $E$ experts, $K$ experts per token, $F$ width
# of one expert, $N$ assignments, that is pairs of a token and an expert that serves it. So `probs_TE` has a row for
# each token and a column for each expert.

# %%
import altair as alt
import torch
from IPython.display import Markdown
from torch.nn.functional import silu

from moedocs.charts import Chart, Size, colour, expert_scale
from moedocs.site.show import show

D, E, K, F = 32, 8, 2, 64
generator = torch.Generator().manual_seed(2)


def weights(*shape: int) -> torch.Tensor:
    """Random weights; sums over the axis before the last keep unit variance."""
    values = torch.randn(shape, generator=generator) * shape[-2] ** -0.5
    return values.requires_grad_()


# %% [markdown]
# ## Tokens
#
# A layer does not see text. It sees one vector per token, and here a token is a byte. The vectors are random, because
# nothing has been trained; what follows is about the machinery, and random vectors exercise all of it. Only one
# property matters below: equal bytes have equal vectors.

# %%
text = "A router reads every token, and even the comma is a token."
byte_T = torch.tensor(list(text.encode()))
embedding_VD = torch.randn(256, D, generator=generator)
x_TD = embedding_VD[byte_T]
T = len(x_TD)

different = byte_T.unique().numel()
print(f"{T} tokens, {different} of them different; x_TD is {T} by {D}")

# %% [markdown]
# ## The router has an opinion on everybody
#
# The router is a single matrix. It turns a token's vector $x_t$ into one logit per expert, and a softmax makes these
# into probabilities:
#
# $$
# p_{te} = \frac{\exp(x_t \cdot r_e)}{\sum_{j=1}^{E} \exp(x_t \cdot r_j)}
# $$
#
# where $r_e$ is the column of the router that belongs to expert $e$. Read it as a question put to every token: how well
# do you go with each expert?

# %%
router_DE = weights(D, E)
logits_TE = x_TD @ router_DE
probs_TE = logits_TE.softmax(-1)

assert torch.allclose(probs_TE.sum(-1), torch.ones(T))
low, high = probs_TE.min().item(), probs_TE.max().item()
print(f"every row sums to 1; its entries lie between {low:.4f} and {high:.2f}")
print(f"an even split would be {1 / E}")

# %% [markdown]
# ## The choice
#
# Each token keeps the $K$ experts that it likes best and forgets the others. What the chosen ones contribute is
# weighted by their probabilities, divided by the sum of the chosen ones, so that the weights of a token add up to one:
#
# $$
# w_{te} = \begin{cases}
# \dfrac{p_{te}}{\sum_{j \in \mathrm{top}_K(p_t)} p_{tj}} & \text{if } e \in \mathrm{top}_K(p_t), \\
# 0 & \text{otherwise.}
# \end{cases}
# $$
#
# Two records come out of this and everything later needs only them: a map that says who goes where, and the weights.

# %%
top_TK, index_TK = probs_TE.topk(K)
share_TK = top_TK / top_TK.sum(-1, keepdim=True)
map_TE = torch.zeros(T, E, dtype=torch.bool).scatter(1, index_TK, True)
weights_TE = torch.zeros(T, E).scatter(1, index_TK, share_TK)

assert (map_TE.sum(-1) == K).all()
for t in (0, text.index("e"), text.index(",")):
    first, second = index_TK[t].tolist()
    print(
        f"{text[t]!r}: expert {first} with weight {weights_TE[t, first]:.2f}, "
        f"expert {second} with {weights_TE[t, second]:.2f}"
    )

# %% tags=["fold"] title="Code of the picture"
PER_ROW = {"wide": 20, "narrow": 10}
rows = [
    {"place": t, "letter": letter.replace(" ", "␣"), "first": index_TK[t, 0].item(), "second": index_TK[t, 1].item()}
    for t, letter in enumerate(text)
]


def who_goes_where(rows: list[dict], size: Size) -> Chart:
    """The sentence in lines; each byte on the colour of its first choice, with the numbers of both."""
    per_row = PER_ROW[size.name]
    cells = (
        alt.Chart(alt.NamedData("table"))
        .transform_calculate(column=f"datum.place % {per_row}", row=f"floor(datum.place / {per_row})")
        .encode(x=alt.X("column:O", axis=None), y=alt.Y("row:O", axis=None))
    )
    legend = alt.Legend(title="first choice", orient="bottom", columns=4 if size.narrow else 8)
    ground = cells.mark_rect(stroke=colour("paper"), strokeWidth=2, fillOpacity=0.32, cornerRadius=4).encode(
        color=alt.Color("first:N", scale=expert_scale(E, first=0), legend=legend)
    )
    letter = cells.mark_text(fontSize=15, dy=-6, font="monospace", color=colour("ink")).encode(text="letter:N")
    pair = cells.transform_calculate(pair="datum.first + ' ' + datum.second").mark_text(
        fontSize=11, dy=11, color=colour("soft")
    )
    height = 40 * -(-T // per_row)
    return alt.layer(ground, letter, pair.encode(text="pair:N")).properties(width=size.width - 8, height=height)


first_choices = index_TK[:, 0].unique().numel()
show(
    "who-goes-where",
    rows,
    who_goes_where,
    "Every byte of the sentence with its first and second expert. Equal letters always meet the same experts, wherever "
    "they stand: the router sees the vector and nothing else. "
    f"{first_choices} of {E} experts are somebody's first choice.",
)

# %% [markdown]
# Dividing by the sum looks like a second step, but it is the softmax over the chosen logits alone, the form in which
# Mixtral writes it. The two are the same number: what the softmax divides by cancels.

# %%
chosen_first_TK = logits_TE.gather(1, index_TK).softmax(-1)
difference = (share_TK - chosen_first_TK).abs().max().item()

assert difference < 1e-6
print(f"the two orders of doing it are {difference:.1g} apart at most")

# %% [markdown]
# ## What an expert is
#
# An expert is an ordinary feed-forward network. Today's models mostly use the gated one called SwiGLU, with three
# matrices: one path goes through a smooth switch, another is multiplied by it, and a third matrix leads back:
#
# $$
# \mathrm{FFN}_e(x) = \bigl(\mathrm{silu}(x\,G_e) \odot x\,U_e\bigr)\,W_e
# $$
#
# Here $G_e$ and $U_e$ are $D \times F$, $W_e$ is $F \times D$, and $\odot$ multiplies element by element. The matrices
# of all experts lie stacked in three tensors.

# %%
gate_EDF, up_EDF = weights(E, D, F), weights(E, D, F)
down_EFD = weights(E, F, D)


def expert(x, gate_DF, up_DF, down_FD):
    return (silu(x @ gate_DF) * (x @ up_DF)) @ down_FD


per_expert = 3 * D * F
total, active = E * per_expert + D * E, K * per_expert + D * E
print(f"{per_expert:,} weights in an expert; {total:,} stored in the layer")
print(f"{active:,} of them read for one token: {active / total:.0%}")

# %% [markdown]
# ## The definition
#
# The layer's output is the weighted sum over the experts:
#
# $$
# y_t = \sum_{e=1}^{E} w_{te}\,\mathrm{FFN}_e(x_t)
# $$
#
# Computed as it stands, every expert works on every token, and most results are multiplied by zero. That is wasteful
# and plainly right, and so it is the measure of everything faster.

# %%
stacks = (gate_EDF, up_EDF, down_EFD)
experts = list(zip(*(stack.unbind() for stack in stacks), strict=True))
out_ETD = torch.stack([expert(x_TD, *matrices) for matrices in experts])
y_TD = torch.einsum("te,etd->td", weights_TE, out_ETD)

print(f"{T * E} runs of an expert on a token, of which {int(map_TE.sum())} count")

# %% [markdown]
# ## The same, without the waste
#
# The fast form turns the question round. Not: which experts does this token need? But: which tokens does this expert
# serve? List the assignments expert by expert, which brings the tokens of one expert together (*permute*), let each
# expert work once on its own stretch (*compute*), and add every result back to the row it came from (*unpermute*).
#
# Two details are easy to get wrong. A token occurs in the list once for each of its experts, so results have to be
# **added** to its row; assigning them would keep only the last. And the matrices are taken apart once, by `unbind()`
# above: indexing the stack inside the loop gives the same values, but its gradient fills a whole stack of zeros for
# each expert.


# %%
def sparse(experts, weights_TE, map_TE):
    expert_N, token_N = map_TE.T.nonzero(as_tuple=True)  # sorted by expert
    groups = x_TD[token_N].split(map_TE.sum(0).tolist())
    pairs = zip(groups, experts, strict=True)
    out_ND = torch.cat([expert(group, *matrices) for group, matrices in pairs])
    weighted_ND = weights_TE[token_N, expert_N, None] * out_ND
    return torch.zeros_like(x_TD).index_add(0, token_N, weighted_ND)


fast_TD = sparse(experts, weights_TE, map_TE)
difference = (fast_TD - y_TD).abs().max().item()

assert torch.allclose(fast_TD, y_TD, atol=1e-5)
print(f"{int(map_TE.sum())} runs instead of {T * E}")
print(f"the two outputs are {difference:.1g} apart at most")

# %% [markdown]
# Equal values are half of it. A layer is there to be trained, so the gradients must agree too, the router's included:
# it learns only through the weights, as the choice itself has no gradient.


# %%
def gradients(out_TD):
    loss = out_TD.square().mean()
    return torch.autograd.grad(loss, (router_DE, *stacks), retain_graph=True)


names = ("router", "gate", "up", "down")
both = zip(gradients(y_TD), gradients(fast_TD), strict=True)
for name, (slow, fast) in zip(names, both, strict=True):
    assert torch.allclose(slow, fast, atol=1e-6)
    size, apart = slow.abs().max(), (slow - fast).abs().max()
    print(f"{name:>6}: gradients of size {size:.1g} are {apart:.1g} apart at most")

# %% [markdown]
# ## Who is busy
#
# Nothing so far sees to it that the experts get equal work. The load of an expert is a column sum of the map, and the
# measure of balance that many models train against multiplies two numbers of each expert: $f_e$, its share of the
# assignments, and $P_e$, the mean probability that the router gives it.
#
# $$
# \mathcal{L} = E \sum_{e=1}^{E} f_e P_e, \qquad f_e = \frac{1}{TK} \sum_{t} [e \in \mathrm{top}_K(p_t)], \qquad
# P_e = \frac{1}{T} \sum_{t} p_{te}
# $$
#
# With even loads it is one. What happens to a router that is left alone is
# [a page of its own](../training/collapse.md).

# %%
load_E = map_TE.sum(0)
share_E, mean_E = load_E / (T * K), probs_TE.mean(0)
loss = E * (share_E * mean_E).sum()

rows = [{"expert": e, "load": load_E[e].item()} for e in range(E)]
print(f"auxiliary loss {loss.item():.3f}; an even load would be {T * K / E}")


# %% tags=["fold"] title="Code of the picture"
def loads(rows: list[dict], size: Size) -> Chart:
    """A bar per expert and a line where even loads would end."""
    base = alt.Chart(alt.NamedData("table"))
    bars = base.mark_bar(cornerRadiusEnd=2).encode(
        x=alt.X("expert:O", axis=alt.Axis(labelAngle=0), title="expert"),
        y=alt.Y("load:Q", title="assignments"),
        color=alt.Color("expert:N", scale=expert_scale(E, first=0), legend=None),
    )
    even = base.transform_aggregate(mean="mean(load)").mark_rule(strokeDash=[4, 3]).encode(y="mean:Q")
    return alt.layer(bars, even).properties(width=size.width - 60, height=180)


busiest, idlest = load_E.max().item(), load_E.min().item()
show(
    "loads",
    rows,
    loads,
    f"Assignments per expert. The busiest has {busiest}, the idlest {idlest}; the dashed line is an even load of "
    f"{T * K / E:.1f}. Frequent letters pull their experts up, for equal bytes cannot go separate ways.",
)

# %% [markdown]
# ## Erase an expert
#
# Now the promise of the first paragraph. Put zeros in the place of one expert, run the layer again, and compare bit by
# bit; then put it back and take the next. A dot stands for a byte whose output is exactly what it was.

# %%
same_ET = torch.zeros(E, T, dtype=torch.bool)
for erased in range(E):
    without = list(experts)
    without[erased] = tuple(map(torch.zeros_like, experts[erased]))
    same_T = (sparse(without, weights_TE, map_TE) == fast_TD).all(-1)
    marks = ["·" if same_T[t] else text[t] for t in range(T)]
    print(f"{erased}: {int(same_T.sum()):2d} same  {''.join(marks)}")
    same_ET[erased] = same_T

assert torch.equal(same_ET, ~map_TE.T)
print(f"on average {same_ET.float().mean():.0%} come out bit for bit as before")

# %% [markdown]
# Exactly those tokens change that had chosen the missing expert, and so the average is no accident: each token chooses
# $K$ of $E$, and the share that never meets a given one is $1 - K/E$. For them its weights need not be computed with,
# need not even be loaded. That is all there is to sparse activation.
#
# ## Against the engine
#
# The engine computes the same layer in `moedocs.engine`, where every figure of this site takes it from. Give it our
# weights and our tokens, and ask for the same record and the same output.

# %%
from moedocs.config import RoutingConfig
from moedocs.engine import MoELayer, auxiliary_loss

config = RoutingConfig(num_experts=E, top_k=K)
layer = MoELayer(D, F, config, generator=torch.Generator())
with torch.no_grad():
    layer.router_ED.copy_(router_DE.T)
    for ours, theirs in zip(stacks, layer.experts.parameters(), strict=True):
        theirs.copy_(ours)
engine_TD, routing = layer(x_TD)

assert torch.equal(routing.map_TE, map_TE)
assert torch.equal(routing.index_TK, index_TK)
torch.testing.assert_close(routing.weights_TE, weights_TE)
torch.testing.assert_close(auxiliary_loss(routing), loss)
torch.testing.assert_close(engine_TD, y_TD)
difference = (engine_TD - y_TD).abs().max().item()
print("same map, same weights, same loss, same output")
print(f"({difference:.1g} apart at most)")

# %% [markdown]
# <div class="admonition takeaway" markdown>
# <p class="admonition-title">Take-away</p>
#
# An MoE layer is a small matrix that makes a map, and a sum that visits only what the map names. Everything else,
# sorting, capacity, balancing, is about doing that sum fast and keeping the map fair.
#
# </div>
#
# ## Exercises
#
# **1.** The sum of the weights of a token is one. Leave out the division, so that the weights are the chosen
# probabilities as they are. Does the choice change? Does the output? What does a token now tell the next layer that it
# did not tell before?

# %% tags=["answer"] title="Answer"
plain_TE = probs_TE.masked_fill(~map_TE, 0.0)
ratio_T = sparse(experts, plain_TE, map_TE).norm(dim=-1) / y_TD.norm(dim=-1)
Markdown(
    "The choice stays: dividing a row by a positive number keeps its order. The output shrinks to between "
    f"{ratio_T.min():.2f} and {ratio_T.max():.2f} of its length, that is by the probability the chosen experts have "
    "together. Where the router is undecided the layer now speaks more softly, and the next layer can hear it."
)

# %% [markdown]
# **2.** With `K = 1` and division, what does the router learn from a loss on the output?

# %% tags=["answer"] title="Answer"
best_T1, best_index_T1 = probs_TE.topk(1)
divided_T1 = best_T1 / best_T1.sum(-1, keepdim=True)
only_TE = torch.zeros(T, E).scatter(1, best_index_T1, divided_T1)
gradient = gradients(sparse(experts, only_TE, only_TE > 0))[0]
Markdown(
    "Nothing: $p / p$ is one, whatever $p$ is. The largest gradient that reaches the router here is "
    f"{gradient.abs().max():.0e}, a rounding error. This is why top-1 routing, as in the Switch Transformer, keeps the "
    "probability itself as the weight."
)

# %% [markdown]
# **3.** Give every expert the same number of slots, enough on average and no more: $C = \lceil TK/E \rceil$. First
# choices are served before second ones, each in the order of the sentence. How many assignments find their expert full,
# and does any token lose both?

# %% tags=["answer"] title="Answer"
C = -(-T * K // E)
taken_E = torch.zeros(E, dtype=torch.long)
kept_TE = torch.zeros_like(map_TE)
for rank in range(K):
    for t in range(T):
        e = index_TK[t, rank]
        kept_TE[t, e] = taken_E[e] < C
        taken_E[e] += 1

lost_T = map_TE.sum(-1) - kept_TE.sum(-1)
Markdown(
    f"With {C} slots each, {int(lost_T.sum())} of {T * K} assignments find their expert full, although there are "
    f"{C * E} slots in all. Tokens that lose both: {int((lost_T == K).sum())}. For such a token the layer gives zeros, "
    "and only the residual connection carries it on."
)

# %% [markdown]
# [Full experts](../training/capacity.md) takes the third exercise further, with the exact expectation beside the draw.
#
# ## Sources
#
# - Shazeer et al. 2017, [Outrageously Large Neural Networks](https://arxiv.org/abs/1701.06538): the layer as a weighted
#   sum over few experts.
# - Fedus et al. 2021, [Switch Transformers](https://arxiv.org/abs/2101.03961): top-1 routing, capacity, the auxiliary
#   loss.
# - Jiang et al. 2024, [Mixtral of Experts](https://arxiv.org/abs/2401.04088): the softmax over the chosen logits.
# - Shazeer 2020, [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202): the gated network.
