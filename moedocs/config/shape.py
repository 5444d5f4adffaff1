"""Read a shape in our own few words, for models that were published in a paper alone and have no config.json."""

from dataclasses import replace

from moedocs.config.architecture import Architecture, Dense, Experts, FeedForward, Layer
from moedocs.config.attention import GroupedQuery
from moedocs.config.fields import MOST_LAYERS, Field, Fields, shown

NUMBERS = {
    name: Field(name)
    for name in ("vocab_size", "d_model", "layers", "heads", "head_dim", "experts", "top_k", "expert_width")
}
# What most papers of that time leave out, and do not have.
OPTIONS = {
    "encoder_layers": Field("encoder_layers", 0, least=0),
    "kv_heads": Field("kv_heads", None),
    "every": Field("every", 1),
    "matrices": Field("matrices", 3),
    "dense_width": Field("dense_width", None),
    "dense_matrices": Field("dense_matrices", None),
    "beside_width": Field("beside_width", 0, least=0),
    "norms": Field("norms", 2, least=0),
    "biases": Field("biases", False),
    "tied": Field("tied", True),
}


def from_shape(mapping: dict[str, object], name: str) -> Architecture:
    """A decoder, or an encoder and a decoder, whose last layer of `every` few has experts. Raises ValueError.

    A network `beside_width` wide runs beside the experts of each sparse layer. A decoder beside an encoder attends to
    it in every layer.
    """
    for word in mapping:
        if word not in NUMBERS and word not in OPTIONS:
            raise ValueError(f"{name}: unknown word {shown(word)}")
    fields = Fields(mapping, name)
    encoder = _number(fields, "encoder_layers")
    biases, tied = (fields.flag(OPTIONS[word]) for word in ("biases", "tied"))
    attention = _attention(fields, biases)
    cross = (replace(attention, cross=True, bidirectional=True),) if encoder else ()
    return Architecture(
        name=name,
        vocab_size=_number(fields, "vocab_size"),
        d_model=_number(fields, "d_model"),
        encoder=_stack(fields, encoder, (replace(attention, bidirectional=True),), biases),
        layers=_stack(fields, _number(fields, "layers"), (attention, *cross), biases),
        tied=tied,
        norm_bias=biases,
        final_norms=2 if encoder else 1,
    )


def _number(fields: Fields, word: str, otherwise: int = 0) -> int:
    size = fields.size_or_none((NUMBERS | OPTIONS)[word], most=MOST_LAYERS if "layers" in word else 10**9)
    return otherwise if size is None else size


def _attention(fields: Fields, biases: bool) -> GroupedQuery:
    heads, width = _number(fields, "heads"), _number(fields, "head_dim")
    return GroupedQuery(
        heads=heads,
        kv_heads=_number(fields, "kv_heads", heads),
        head_dim=width,
        value_dim=width,
        qkv_bias=biases,
        output_bias=biases,
    )


def _stack(fields: Fields, count: int, attention: tuple[GroupedQuery, ...], biases: bool) -> tuple[Layer, ...]:
    every, norms = _number(fields, "every"), _number(fields, "norms") + len(attention) - 1
    sparse, dense = (
        Layer(attention=attention, feed_forward=networks, norms=norms) for networks in _networks(fields, biases)
    )
    return tuple(sparse if layer % every == every - 1 else dense for layer in range(count))


def _networks(fields: Fields, biases: bool) -> tuple[tuple[FeedForward, ...], tuple[FeedForward, ...]]:
    """Those of a layer with experts, and those of one without."""
    width, matrices = _number(fields, "expert_width"), _number(fields, "matrices")
    experts = Experts(
        experts=_number(fields, "experts"),
        top_k=_number(fields, "top_k"),
        width=width,
        matrices=matrices,
        bias=biases,
    )
    dense_matrices = _number(fields, "dense_matrices", matrices)
    dense = Dense(width=_number(fields, "dense_width", width), matrices=dense_matrices, bias=biases)
    beside = _number(fields, "beside_width")
    return (experts, replace(dense, width=beside)) if beside else (experts,), (dense,)
