"""What a transformer stores, counted from its configuration in plain Python.

Dimensions: L layers, D d_model, F d_ff of one expert, E experts, K top-k, H heads, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

from moedocs.config import TransformerConfig

MATRICES_PER_FFN = 3  # SwiGLU: gate, up and down


@dataclass(frozen=True)
class Parameters:
    """Parameters of the whole model by part; `active` are those that one token uses which passes every block.

    Counting rules differ between laboratories: Mixtral's 12.9 billion include both vocabulary matrices; other reports
    leave out the input embedding (it is looked up, not multiplied) or both. `shared` holds shared experts and their
    gates, `depth` the routers and predictors of Mixture of Depths.
    """

    embedding: int
    attention: int
    routers: int
    experts: int
    shared: int
    dense_ffn: int
    depth: int
    norms: int
    head: int
    active_experts: int

    @property
    def total(self) -> int:
        return self.experts + self._always_used

    @property
    def active(self) -> int:
        return self.active_experts + self._always_used

    @property
    def active_without_input_embedding(self) -> int:
        """With tied embeddings the one matrix is still multiplied as the head, so it stays."""
        return self.active - (self.embedding if self.head else 0)

    @property
    def active_without_embeddings(self) -> int:
        return self.active - self.embedding - self.head

    @property
    def _always_used(self) -> int:
        feed_forward = self.routers + self.shared + self.dense_ffn
        return self.embedding + self.attention + feed_forward + self.depth + self.norms + self.head


def expert_parameters(config: TransformerConfig) -> int:
    """Parameters of one expert in one layer: 3·D·F."""
    return MATRICES_PER_FFN * config.d_model * config.d_ff


def dense_parameters(config: TransformerConfig) -> int:
    """Parameters of the feed-forward network of one block without experts."""
    return MATRICES_PER_FFN * config.d_model * config.dense_width


def attention_parameters(config: TransformerConfig) -> int:
    """Parameters of one layer's attention: query and output are D × H·head_dim, key and value D × H_kv·head_dim."""
    return 2 * config.d_model * config.head_width * (config.num_heads + config.kv_heads)


def router_parameters(config: TransformerConfig) -> int:
    """Parameters of one layer's router: a row for each expert and each no-op, and as many again for learned noise."""
    if config.routing is None:
        return 0
    matrices = 2 if config.routing.router == "noisy" else 1
    return matrices * config.d_model * config.routing.choices


def shared_parameters(config: TransformerConfig) -> int:
    """Parameters of one layer's shared experts, and one row more if they have a gate."""
    if config.routing is None:
        return 0
    gate = config.d_model if config.routing.shared_gate else 0
    return config.routing.shared_experts * expert_parameters(config) + gate


def depth_parameters(config: TransformerConfig) -> int:
    """Parameters that one routed block adds to choose its tokens: a row, and a predictor of D // 4 hidden numbers."""
    depth, d_model = config.depth, config.d_model
    if depth is None or depth.router == "random":
        return 0
    hidden = depth.predictor_width(d_model)
    return d_model + (hidden * (d_model + 1) if depth.sampling == "predictor" else 0)


def parameters(config: TransformerConfig) -> Parameters:
    """Exact count by part; equal to the sum of the tensor sizes of `moedocs.engine.Transformer`."""
    routing, layers, vocabulary = config.routing, config.num_layers, config.vocab_size * config.d_model
    sparse, routed = len(config.moe_blocks), len(config.depth_blocks)
    num_experts, top_k = (routing.num_experts, routing.top_k) if routing else (0, 0)
    return Parameters(
        embedding=vocabulary,
        attention=layers * attention_parameters(config),
        routers=sparse * router_parameters(config),
        experts=sparse * num_experts * expert_parameters(config),
        shared=sparse * shared_parameters(config),
        dense_ffn=(layers - sparse) * dense_parameters(config),
        depth=routed * depth_parameters(config),
        norms=(2 * layers + 1) * config.d_model,
        head=0 if config.tied_embeddings else vocabulary,
        active_experts=sparse * top_k * expert_parameters(config),
    )
