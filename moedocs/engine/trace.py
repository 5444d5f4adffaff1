"""One token on its way through one MoE layer, with what every expert would have said.

Shapes: S sequence length · D d_model · E num_experts · K top_k
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from moedocs.engine.layer import MoELayer
from moedocs.engine.transformer import Block, Transformer


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything one token meets in one MoE layer, which adds up: sum_D = sum_e weights_E outputs_ED + shared_D.

    `residual_D` passes around the layer: output_D = residual_D + sum_D. `x_D` is the normalised input that router and
    experts see; `outputs_ED` holds the idle experts' answers too, which the layer itself never computes. `shared_D` is
    of the shared experts, 0 without any. No-ops come after the experts in what is per choice, and have no output.
    """

    residual_D: Tensor
    x_D: Tensor
    logits_E: Tensor
    probs_E: Tensor
    index_K: Tensor
    map_E: Tensor
    weights_E: Tensor
    dropped_E: Tensor
    outputs_ED: Tensor
    shared_D: Tensor
    sum_D: Tensor
    output_D: Tensor


@torch.no_grad()
def trace(
    model: Transformer, bytes_S: Tensor, layer: int, position: int, *, generator: Generator | None = None
) -> Trace:
    """Follow the token at `position` of one sequence through block `layer`, both counted from 0.

    The whole sequence is routed, so a capacity drops what it would drop in a batch of this one sequence. Raises
    ValueError where there is no such place, where the block is dense, and where tokens may go past it. What draws needs
    the `generator`: routers in training mode, and a random depth below.
    """
    if not 0 <= position < len(bytes_S):
        raise ValueError(f"position={position} must lie in 0..{len(bytes_S) - 1}")
    block, moe = _moe_block(model, layer)
    ids_BS = bytes_S[None].long()
    x_BSD = model.embed(ids_BS)
    for below in model.blocks[:layer]:
        x_BSD = below(x_BSD, ids_BS=ids_BS, generator=generator)[0]
    residual_SD = block.attend(x_BSD)[0]
    x_SD = block.feed_forward_norm(residual_SD)
    sum_SD, routing = moe(x_SD, ids=ids_BS[0], generator=generator)
    return Trace(
        residual_D=residual_SD[position],
        x_D=x_SD[position],
        logits_E=routing.logits_TE[position],
        probs_E=routing.probs_TE[position],
        index_K=routing.index_TK[position],
        map_E=routing.map_TE[position],
        weights_E=routing.weights_TE[position],
        dropped_E=routing.dropped_TE[position],
        outputs_ED=moe.experts(x_SD[[position]])[0],
        shared_D=moe.shared_output(x_SD[[position]])[0],
        sum_D=sum_SD[position],
        output_D=residual_SD[position] + sum_SD[position],
    )


def _moe_block(model: Transformer, layer: int) -> tuple[Block, MoELayer]:
    if not 0 <= layer < len(model.blocks):
        raise ValueError(f"layer={layer} must lie in 0..{len(model.blocks) - 1}")
    block = model.blocks[layer]
    if not isinstance(block, Block):
        raise ValueError(f"layer={layer} is routed in depth: a token may go past it")
    if not isinstance(block.feed_forward, MoELayer):
        raise ValueError(f"layer={layer} is dense: it has no experts to trace")
    return block, block.feed_forward
