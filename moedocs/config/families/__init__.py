"""Every family of published models that can be read, by the `model_type` of its files."""

from moedocs.config.families.decoders import DECODERS
from moedocs.config.families.encoder_decoders import ENCODER_DECODERS
from moedocs.config.families.family import Family
from moedocs.config.families.harmless import HARMLESS, ONLY
from moedocs.config.families.hybrids import HYBRIDS
from moedocs.config.families.recent import RECENT

FAMILIES: dict[str, Family] = {**DECODERS, **RECENT, **HYBRIDS, **ENCODER_DECODERS}

# Files that wrap a language model and say what it is only outside, and what the wrapped one then is.
WRAPPERS = {"llama4": "llama4_text"}

__all__ = ["FAMILIES", "HARMLESS", "ONLY", "WRAPPERS", "Family"]
