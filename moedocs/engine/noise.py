"""Routing that draws: noise on the logits, a second choice left to chance, noise on the router's input.

Each draw is apart from its use, so that the use can be checked and repeated with the same numbers.

Shapes: T tokens · D d_model · E num_experts · K top_k · J the K + 1 best
"""

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from moedocs.engine.record import Routing, accepted, best_first, chosen_map
from moedocs.engine.token_choice import softmax_top_k, top_k_softmax


def noisy_logits(clean_TE: Tensor, noise_logits_TE: Tensor, normal_TE: Tensor) -> Tensor:
    """clean + normal * softplus(noise logits): how much noise each logit gets is learned (Shazeer et al. 2017, eq. 4).

    In float32. Raises ValueError for a clean or noise logit that is not finite, naming its token, and for shapes that
    differ.
    """
    clean_TE, noise_logits_TE = _both(clean_TE, noise_logits_TE)
    _check_shape("noise", normal_TE, clean_TE.shape)
    return clean_TE + normal_TE * softplus(noise_logits_TE)


def noisy_top_k(clean_TE: Tensor, noise_logits_TE: Tensor, top_k: int, *, generator: Generator) -> Routing:
    """Each token takes the K highest of its noisy logits, weighted by the softmax over those K (Shazeer et al. 2017).

    Equations 3 to 5 of the paper. `logits_TE` and `probs_TE` of the record are the noisy ones, by which the choice was
    made: a token may be sent elsewhere the next time. Ties and errors are those of `softmax_top_k`, and noise that
    carries a logit beyond float32 is refused like an infinite logit.
    """
    normal_TE = torch.randn(clean_TE.shape, generator=generator, device=generator.device).to(clean_TE.device)
    return top_k_softmax(noisy_logits(clean_TE, noise_logits_TE, normal_TE), top_k)


def load_probability(clean_TE: Tensor, noise_logits_TE: Tensor, routing: Routing) -> Tensor:
    """P(expert e is among token t's K if e's noise alone is drawn anew) (Shazeer et al. 2017, appendix A, eqs. 8, 9).

    (T, E) in 0..1. Its sum over the tokens is the smooth load of each expert (eq. 10), which has a gradient where the
    count of choices has none: to the clean logits, to the noise logits, and through the bound that the others set. A
    row sums to K only on average over the noise. `routing` is what `noisy_top_k` made of the same two tables; that
    capacity dropped choices since makes no difference. With K = E every choice is certain, a constant 1.
    """
    clean_TE, noise_logits_TE = _both(clean_TE, noise_logits_TE)
    _check_shape("a routing", routing.logits_TE, clean_TE.shape)
    top_k, num_experts = routing.index_TK.shape[1], clean_TE.shape[1]
    if top_k == num_experts:
        return torch.ones_like(clean_TE)
    best_TJ = routing.logits_TE.gather(1, best_first(routing.logits_TE, top_k + 1))
    # the K-th highest of the OTHERS: one further down for an expert that is itself among the K
    bound_TE = torch.where(routing.chosen_TE, best_TJ[:, top_k:], best_TJ[:, top_k - 1 : top_k])
    # in float64: the gradient divides by the square of a deviation that may be as small as float32 goes
    deviation_TE = softplus(noise_logits_TE.double()).clamp_min(torch.finfo(torch.float32).tiny)
    short_TE = (bound_TE.double() - clean_TE.double()) / deviation_TE
    # the normal distribution's upper tail; torch's ndtr loses the digits of a small one
    return (torch.erfc(short_TE / math.sqrt(2)) / 2).float()


def gshard_top_2(logits_TE: Tensor, *, generator: Generator, threshold: float = 0.5) -> Routing:
    """Each token takes its best expert, and its second best with chance min(1, w / threshold) (GShard, algorithm 1).

    w is the second's share of the two probabilities, so at most a half: GShard's 2 * w is threshold 0.5, with which
    only a tie is certain to go to both; Mesh TensorFlow's 0.2 keeps more, 0 all. The weights are shares of the two
    whatever the draw says: a token that skips its second receives less than weight 1. A skipped choice is -1 in
    `index_TK` and counts neither as load nor as dropped. Needs two experts or more; ties and errors are those of
    `softmax_top_k`.
    """
    routing = softmax_top_k(logits_TE, 2)
    uniform_T = torch.rand(len(routing.index_TK), generator=generator, device=generator.device).to(logits_TE.device)
    return with_random_second(routing, uniform_T, threshold=threshold)


def with_random_second(routing: Routing, uniform_T: Tensor, *, threshold: float = 0.5) -> Routing:
    """A top-2 routing, before any capacity, without the second choices of weight at most threshold * `uniform_T`.

    `uniform_T` lies in 0..1, 1 excluded, one number per token: what `gshard_top_2` draws. threshold=0 keeps all.
    """
    if routing.index_TK.shape[1] != 2:
        raise ValueError(f"a random second needs top_k=2, not {routing.index_TK.shape[1]}")
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold={threshold} must be a finite number, at least 0")
    if uniform_T.shape != routing.index_TK.shape[:1]:
        raise ValueError(f"draws of shape {tuple(uniform_T.shape)} do not fit {len(routing.index_TK)} tokens")
    if threshold == 0:
        return routing
    first_T1, second_T1 = routing.index_TK[:, :1], routing.index_TK[:, 1:]
    # in float64, which holds whatever product of the two, and no division by a threshold near 0
    skipped_T1 = uniform_T[:, None].double() * threshold >= routing.weights_TE.gather(1, second_T1)
    skipped_TE = skipped_T1 & chosen_map(second_T1, routing.map_TE.shape[1])
    return replace(
        routing,
        map_TE=routing.map_TE & ~skipped_TE,
        weights_TE=routing.weights_TE.masked_fill(skipped_TE, 0.0),
        index_TK=torch.cat([first_T1, second_T1.masked_fill(skipped_T1, -1)], dim=1),
    )


def jittered(x_TD: Tensor, epsilon: float, *, generator: Generator) -> Tensor:
    """x with every number multiplied by its own draw from 1 - epsilon .. 1 + epsilon.

    Switch's input jitter (appendix C), in the dtype of x. For the router's input in training: the experts see x as it
    was.
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon={epsilon} must lie in 0..1")
    uniform_TD = torch.rand(x_TD.shape, generator=generator, device=generator.device).to(x_TD.device)
    return x_TD * (1 + epsilon * (2 * uniform_TD - 1)).to(x_TD.dtype)


def _both(clean_TE: Tensor, noise_logits_TE: Tensor) -> tuple[Tensor, Tensor]:
    clean_TE, noise_logits_TE = accepted(clean_TE), accepted(noise_logits_TE, "noise logit")
    _check_shape("a table of noise logits", noise_logits_TE, clean_TE.shape)
    return clean_TE, noise_logits_TE


def _check_shape(name: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise ValueError(f"{name} of shape {tuple(tensor.shape)} does not fit router logits of shape {tuple(shape)}")
