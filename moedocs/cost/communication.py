"""What expert parallelism sends: copies of tokens to the devices of their experts, and results back.

N experts lie evenly on D devices, n on each, m on each node; a token has k choices. Counts are means over tokens whose
choices are all alike and at home anywhere: what a device sends is then also what it receives.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from moedocs.config.architecture import Architecture, Experts
from moedocs.cost.devices import Device
from moedocs.cost.forward import model_flops
from moedocs.cost.quantity import HUGE, Quantity, known, positive_numbers, shares, total, whole_numbers, written

# When a token is sent again: for each choice; once to each device with some of its experts; once to each node with
# some, where one device passes it on over the node's own links (DeepSeek-V3, section 3.2.2).
WAYS = ("choices", "devices", "nodes")
MOST_DEVICES = 10**5


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Devices in nodes of `per_node`; with `nodes_per_token` a token's experts lie on at most so many nodes.

    Those nodes are any, and the choices any of their experts: DeepSeek-V3's own rule spreads them further, but never
    over more nodes.
    """

    devices: int
    per_node: int = 8
    nodes_per_token: int | None = None

    def __post_init__(self) -> None:
        whole_numbers(1, MOST_DEVICES, devices=self.devices, per_node=self.per_node)
        if self.devices > self.per_node and self.devices % self.per_node:
            raise ValueError(f"devices={self.devices} are not whole nodes of per_node={self.per_node}")
        if self.nodes_per_token is not None:
            whole_numbers(1, self.nodes, nodes_per_token=self.nodes_per_token)

    @property
    def nodes(self) -> int:
        return max(1, self.devices // self.per_node)

    @property
    def node(self) -> int:
        """Devices in one node."""
        return self.devices // self.nodes


@dataclass(frozen=True)
class Sent:
    """What leaves a device for other nodes, and for other devices of a node: its own or, passed on, the one reached."""

    across: Quantity
    within: Quantity


def copies(experts: int, top_k: int, cluster: Cluster, way: str = "devices") -> Sent:
    """Copies of one token that one layer's dispatch sends, on average. Combining sends as many results back."""
    known("way", way, WAYS)
    _check(experts, top_k, cluster)
    nodes, node, devices = cluster.nodes, cluster.node, cluster.devices
    if way == "choices":
        across, within = top_k * (nodes - 1) / nodes, top_k * (node - 1) / devices
        texts = f"{top_k} × {nodes - 1} ÷ {nodes}", f"{top_k} × {node - 1} ÷ {devices}"
    else:
        reached, text = _reached(experts, top_k, cluster, devices)
        across, within = (devices - node) * reached, (node - 1) * reached
        texts = f"{devices - node} × {text}", f"{node - 1} × {text}"
    if way == "nodes":
        hit, across_text = _reached(experts, top_k, cluster, nodes)
        across, within = (nodes - 1) * hit, nodes * (node - 1) * reached
        texts = f"{nodes - 1} × {across_text}", f"{nodes}·{node - 1} × {text}"
    return Sent(Quantity(across, "copies", texts[0], "across"), Quantity(within, "copies", texts[1], "within"))


def distinct_devices(experts: int, top_k: int, cluster: Cluster) -> Quantity:
    """Devices that have some of a token's experts, on average."""
    _check(experts, top_k, cluster)
    reached, text = _reached(experts, top_k, cluster, cluster.devices)
    return Quantity(cluster.devices * reached, "devices", f"{cluster.devices} × {text}")


def distinct_nodes(experts: int, top_k: int, cluster: Cluster) -> Quantity:
    """Nodes that have some of a token's experts, on average."""
    _check(experts, top_k, cluster)
    reached, text = _reached(experts, top_k, cluster, cluster.nodes)
    return Quantity(cluster.nodes * reached, "nodes", f"{cluster.nodes} × {text}")


def _reached(experts: int, top_k: int, cluster: Cluster, places: int) -> tuple[float, str]:
    """The chance that one of `places` equal places has some of the k, if nodes are limited among those allowed."""
    allowed = cluster.nodes_per_token or cluster.nodes
    within, here = allowed * (experts // cluster.nodes), experts // places
    chance = allowed / cluster.nodes * (1 - comb(within - here, top_k) / comb(within, top_k))
    limit = f"{allowed} ÷ {cluster.nodes} × " if allowed < cluster.nodes else ""
    return chance, f"{limit}(1 − C({within - here}, {top_k}) ÷ C({within}, {top_k}))"


def _check(experts: int, top_k: int, cluster: Cluster) -> None:
    whole_numbers(1, 10**5, experts=experts)
    if experts % cluster.devices:
        raise ValueError(f"experts={experts} do not lie evenly on devices={cluster.devices}")
    allowed = (cluster.nodes_per_token or cluster.nodes) * (experts // cluster.nodes)
    whole_numbers(0, min(allowed, 10**4), top_k=top_k)


# Bytes that carry a token of so many numbers.
MESSAGES = {
    "bf16": "2 bytes a number",
    "fp8": "a byte a number and an fp32 scale for 128, as DeepSeek-V3 dispatches",
    "fp8-one-scale": "a byte a number; the scale is the tensor's and left out",
    "fp32": "4 bytes a number",
}


def message_bytes(width: int, form: str) -> Quantity:
    """Bytes of one copy."""
    whole_numbers(1, width=width)
    known("form", form, MESSAGES)
    if form == "fp8":
        scales = -(-width // 128)
        return Quantity(width + 4 * scales, "byte", f"({width} + 4·{scales})")
    each = {"bf16": 2, "fp32": 4}.get(form, 1)
    return Quantity(each * width, "byte", f"{each}·{width}")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """How tokens travel: `way` of `WAYS`, formats of `MESSAGES`; gradients take the same ways in the same formats.

    Backward, gradients of results are dispatched and those of tokens combined: two exchanges more in each layer.
    """

    way: str = "devices"
    dispatch: str = "bf16"
    combine: str = "bf16"
    backward: bool = False

    def __post_init__(self) -> None:
        known("way", self.way, WAYS)
        known("dispatch", self.dispatch, MESSAGES)
        known("combine", self.combine, MESSAGES)

    @property
    def passes(self) -> int:
        return 2 if self.backward else 1


def sent_bytes(model: Architecture, cluster: Cluster, tokens: int, exchange: Exchange) -> Sent:
    """Bytes that each device sends in all layers of experts for its own `tokens` tokens, dispatch and combine."""
    whole_numbers(tokens=tokens)
    if not model.experts:
        raise ValueError(f"{model.name} has no layers of experts to divide")
    layers: dict[Experts, int] = {}
    for one in model.experts:
        layers[one] = layers.get(one, 0) + 1
    across: list[Quantity] = []
    within: list[Quantity] = []
    for one, times in layers.items():
        sent = copies(one.experts, min(one.top_k, one.experts), cluster, exchange.way)
        for name, form in (("dispatch", exchange.dispatch), ("combine", exchange.combine)):
            message = message_bytes(one.latent or model.d_model, form)
            for copied, parts in ((sent.across, across), (sent.within, within)):
                value = exchange.passes * times * tokens * copied.value * message.value
                formula = f"{exchange.passes}·{times} layers × {tokens} tokens × {copied.formula} × {message.formula}"
                parts.append(Quantity(value, "byte", formula, name))
    return Sent(total(across, "byte", "across"), total(within, "byte", "within"))


def seconds(sent: Sent, across: float, within: float) -> Quantity:
    """The least time for what a device sends, both kinds of links at work at once; speeds in bytes per second."""
    positive_numbers(across=across, within=within)
    value = max(sent.across.value / across, sent.within.value / within)
    texts = (f"{written(sent.across.value)} ÷ {written(across)}", f"{written(sent.within.value)} ÷ {written(within)}")
    return Quantity(value, "second", f"max({texts[0]}, {texts[1]})")


@dataclass(frozen=True)
class Overlapped:
    """A step of computation and communication: what communication adds to it, how long it is, and that share."""

    exposed: Quantity
    step: Quantity
    share: Quantity


def overlapped(communication: float, computation: float, overlap: float) -> Overlapped:
    """With a share `overlap` of communication hidden behind computation, as far as there is computation to hide behind.

    Both in seconds; 0 is communication that everything waits for, 1 all that schedules such as DualPipe aim at.
    """
    shares(overlap=overlap)
    for name, value in (("communication", communication), ("computation", computation)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= HUGE:
            positive_numbers(**{name: value})
    hidden = f"min({written(overlap)} × {written(communication)}, {written(computation)})"
    added = communication - min(overlap * communication, computation)
    exposed = Quantity(added, "second", f"{written(communication)} − {hidden}")
    step = Quantity(computation + added, "second", f"{written(computation)} + {written(added)}")
    share = added / step.value if step.value else 0.0
    formula = f"{written(added)} ÷ {written(step.value)}" if step.value else "0"
    return Overlapped(exposed, step, Quantity(share, "share", formula))


@dataclass(frozen=True, kw_only=True)
class Work:
    """What each device computes beside: `tokens` of its own in sequences of a length, at a share of its peak.

    The `link` between nodes has so many bytes per second for each device; within a node the device's own.
    """

    device: Device
    tokens: int
    sequence: int
    link: float
    overlap: float = 0.0
    utilisation: float = 1.0
    products: str = "bf16"

    def __post_init__(self) -> None:
        whole_numbers(1, tokens=self.tokens, sequence=self.sequence)
        if self.tokens % self.sequence:
            raise ValueError(f"tokens={self.tokens} are not whole sequences of sequence={self.sequence}")
        positive_numbers(link=self.link, utilisation=self.utilisation)
        shares(overlap=self.overlap, utilisation=self.utilisation)
        self.device.peak(self.products)


def share_of_step(model: Architecture, cluster: Cluster, exchange: Exchange, work: Work) -> Overlapped:
    """Communication beside the products of a forward pass, or of a training step with `exchange.backward`.

    Each device computes as much as its own tokens take, as it does at even load.
    """
    flops = model_flops(model, work.sequence, work.tokens // work.sequence)
    computed = flops.training.causal if exchange.backward else flops.causal
    sent = sent_bytes(model, cluster, work.tokens, exchange)
    sending = seconds(sent, work.link, work.device.link)
    return overlapped(sending.value, computed / (work.device.peak(work.products) * work.utilisation), work.overlap)
