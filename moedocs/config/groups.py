"""Which experts stand together: the runs of neighbours that a limit on a token's devices or nodes counts."""

from dataclasses import dataclass

from moedocs.config.checks import whole


@dataclass(frozen=True)
class Groups:
    """The experts in `count` equal runs of neighbours, of which a token uses only those in its `chosen` best.

    A run is the experts of one device (DeepSeek-V2) or one node (V3): the limit bounds in how many places a token is
    computed. All runs chosen, or a single run, limit nothing.
    """

    count: int
    chosen: int

    def __post_init__(self) -> None:
        whole(self, "count", "chosen")
        if self.chosen > self.count:
            raise ValueError(f"chosen={self.chosen} must lie in 1..count={self.count} groups")

    def size(self, num_experts: int, top_k: int) -> int:
        """Experts per group; raises ValueError unless the groups are equal and the chosen ones hold `top_k` experts."""
        if num_experts % self.count:
            raise ValueError(f"num_experts={num_experts} is not a multiple of count={self.count} groups")
        size = num_experts // self.count
        if self.chosen * size < top_k:
            raise ValueError(f"chosen={self.chosen} groups of {size} experts are fewer than top_k={top_k}")
        return size
