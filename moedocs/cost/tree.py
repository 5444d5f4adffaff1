"""The parameters of a published model as a tree whose every number shows its arithmetic, and what one token uses."""

from __future__ import annotations

from dataclasses import dataclass

from moedocs.config.architecture import Architecture
from moedocs.cost.weight import EMBEDDING, HEAD, PARTS, POSITIONS, STREAMS, Weight
from moedocs.cost.weights import model_weights

# The three ways to count what one token uses, and who reports which (counted here, and rounded as they round).
CONVENTIONS = {
    "with_embeddings": "every weight that a token uses, both vocabulary matrices included: "
    "Mixtral 8x7B's 12.9 billion, DeepSeekMoE 16B's 2.8, OLMoE's 1.3, Phi-3.5-MoE's 6.6",
    "without_input_embedding": "without the input embedding, which is looked up and not multiplied, unless it is tied "
    "and so the head too: gpt-oss's 3.6 and 5.1 billion, DeepSeek-V2-Lite's 2.4",
    "without_embeddings": "without input embedding and head, as in scaling laws: MiniMax-Text-01's 45.9 billion",
}
# Why a matrix that is multiplied stores nothing of its own.
NOTHING = {HEAD: "0, as it is tied to the embedding", STREAMS: "0, as it is computed anew for each token"}


@dataclass(frozen=True)
class Node:
    """Parameters of one part: how many there are, how many of them one token uses, and how they are counted."""

    name: str
    count: int
    active: int
    formula: str
    children: tuple[Node, ...] = ()

    def part(self, name: str) -> int:
        """Parameters of the child of that name, 0 without one."""
        return sum(child.count for child in self.children if child.name == name)


@dataclass(frozen=True)
class Active:
    """Parameters that one token uses, counted in each of the three `CONVENTIONS`.

    An encoder-decoder counts a token of the text and a token of the answer together.
    """

    with_embeddings: int
    without_input_embedding: int
    without_embeddings: int


def parameter_tree(model: Architecture) -> Node:
    """Exact count by part; biases and norms included, buffers not, a tied head as 0."""
    leaves: dict[str, list[Node]] = {part: [] for part in PARTS}
    for weight, layers in _gathered(model).items():
        leaves[weight.part].append(_leaf(weight, layers))
    return _sum(model.name, tuple(_sum(part, tuple(children)) for part, children in leaves.items() if children))


def active_parameters(model: Architecture) -> Active:
    """What one token uses, in each convention."""
    tree = parameter_tree(model)
    looked_up = tree.part(POSITIONS) + (0 if model.tied else tree.part(EMBEDDING))
    vocabulary = tree.part(EMBEDDING) + tree.part(POSITIONS) + tree.part(HEAD)
    return Active(tree.active, tree.active - looked_up, tree.active - vocabulary)


def _gathered(model: Architecture) -> dict[Weight, int]:
    """Weights that are alike in several kinds of layer count as one."""
    gathered: dict[Weight, int] = {}
    for weight, layers in model_weights(model):
        gathered[weight] = gathered.get(weight, 0) + layers
    return gathered


def _leaf(weight: Weight, layers: int) -> Node:
    shape = "·".join(str(side) for side in weight.shape)
    times = f"{layers} alike" if weight.part == EMBEDDING else f"{layers} layers"
    factors = [times] * (layers > 1) + [f"{weight.stored} experts"] * (weight.stored > 1)
    formula = " × ".join([*factors, shape]) if weight.stored else NOTHING.get(weight.part, "0")
    return Node(weight.name, layers * weight.stored * weight.size, layers * _used(weight) * weight.size, formula)


def _used(weight: Weight) -> int:
    return min(weight.used, weight.stored)


def _sum(name: str, children: tuple[Node, ...]) -> Node:
    formula = " + ".join(str(child.count) for child in children)
    return Node(
        name, sum(child.count for child in children), sum(child.active for child in children), formula, children
    )
