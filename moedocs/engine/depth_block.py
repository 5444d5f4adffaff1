"""A block that only some tokens pass through, and the small predictor that stands in for its router in sampling.

Shapes: B sequences · S sequence length · D d_model · H width of the predictor · C tokens that pass
"""

from dataclasses import replace
from typing import Protocol

from torch import Generator, Tensor, nn
from torch.nn.functional import linear, silu

from moedocs.config import DepthConfig
from moedocs.engine.balance import pooled
from moedocs.engine.depth import DepthRouting, random_depth, through, top_c
from moedocs.engine.depth_sampling import causal_choice
from moedocs.engine.experts import fan_in
from moedocs.engine.record import Routing


class Residual(Protocol):
    """A block that can say what it adds: attention and feed-forward together, without its input."""

    def delta(
        self, x_BCD: Tensor, positions_BC: Tensor, *, ids_BC: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Routing | None]:
        """What is added to each token, and the Routing of its experts if it has any."""
        ...


class Predictor(nn.Module):
    """Guesses from a token alone whether it will be among the top C (Raposo et al. 2024, section 3.5).

    Its input is detached: it learns from the language model and never changes it. One hidden layer, whose width is
    `DepthConfig.predictor_width`.
    """

    def __init__(self, d_model: int, *, generator: Generator) -> None:
        super().__init__()
        hidden = DepthConfig.predictor_width(d_model)
        self.hidden_HD = fan_in(hidden, d_model, inputs=d_model, generator=generator)
        self.output_H = fan_in(hidden, inputs=hidden, generator=generator)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Logits (B, S) in float32: above 0 means "passes"."""
        hidden_BSH = silu(linear(x_BSD.detach().float(), self.hidden_HD.float()))
        return hidden_BSH @ self.output_H.float()


class DepthBlock(nn.Module):
    """A Mixture of Depths around a block: chosen tokens pass, attending to one another only, the rest goes past it.

    With experts inside the block this is staged MoDE: who skips the block skips them too. router="random" has no
    parameters; sampling="predictor" adds a Predictor.
    """

    def __init__(self, block: Residual, d_model: int, config: DepthConfig, *, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.block: Residual = block  # a module too, and registered as one
        if config.router == "learned":
            self.router_D = fan_in(d_model, inputs=d_model, generator=generator)
        self.predictor = Predictor(d_model, generator=generator) if config.sampling == "predictor" else None

    def choose(self, x_BSD: Tensor, *, causal: bool = False, generator: Generator | None = None) -> DepthRouting:
        """Router logits in float32 whatever the model runs in, and the choice.

        causal=True chooses as sampling must, which a config with sampling="none" was never taught. A random choice is
        the same either way: it sees no token; it needs the `generator`.
        """
        capacity = self.config.slots(x_BSD.shape[1])
        if self.config.router == "random":
            if generator is None:
                raise ValueError("router='random' needs a generator")
            return random_depth((x_BSD.shape[0], x_BSD.shape[1]), capacity, generator=generator, device=x_BSD.device)
        logits_BS = x_BSD.float() @ self.router_D.float()
        predicted_BS = None if self.predictor is None else self.predictor(x_BSD)
        if not causal:
            return replace(top_c(logits_BS, capacity, weight=self.config.weight), predicted_BS=predicted_BS)
        if self.config.sampling == "none":
            raise ValueError("sampling='none' has learned no causal choice")
        return causal_choice(logits_BS, predicted_BS, weight=self.config.weight)

    def forward(
        self,
        x_BSD: Tensor,
        *,
        ids_BS: Tensor | None = None,
        causal: bool = False,
        generator: Generator | None = None,
    ) -> tuple[Tensor, Routing | None, DepthRouting]:
        """The residual stream, the Routing of the experts inside over the tokens that passed, and the choice.

        That Routing's rows are the chosen tokens sequence by sequence; it is None without experts, or without anybody
        who passes. A causal choice routes each sequence by itself, so that a capacity holds for one sequence. The ids
        are for experts that are chosen by them.
        """
        depth = self.choose(x_BSD, causal=causal, generator=generator)
        routings: list[Routing] = []

        def delta(x_BCD: Tensor, positions_BC: Tensor, ids_BC: Tensor | None = None) -> Tensor:
            delta_BCD, routing = self.block.delta(x_BCD, positions_BC, ids_BC=ids_BC, generator=generator)
            routings.extend([] if routing is None else [routing])
            return delta_BCD

        out_BSD = through(x_BSD, depth, delta, *([] if ids_BS is None else [ids_BS]))
        routing = routings[0] if len(routings) == 1 else None
        return out_BSD, pooled(routings) if len(routings) > 1 else routing, depth
