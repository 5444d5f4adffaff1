"""Accelerators as their data sheets have them: peaks that no program reaches, to be replaced by what one measures.

Products are dense: NVIDIA's and AMD's larger figures, with 2:4 sparsity, are twice these. A link is what one device
sends to all its neighbours together, in one direction; the figures that count both directions are twice these.
"""

from __future__ import annotations

from dataclasses import dataclass

from moedocs.config.fields import shown
from moedocs.cost.quantity import positive_numbers

FORMATS = ("bf16", "fp8", "fp4")
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator: bytes of memory, bytes per second from it and over its links, FLOP per second by format.

    A peak is None where the device has no products in that format. Any other value: `dataclasses.replace`.
    """

    name: str
    memory: float
    bandwidth: float
    link: float
    bf16: float
    fp8: float | None = None
    fp4: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name={shown(self.name)} must be a text")
        positive_numbers(memory=self.memory, bandwidth=self.bandwidth, link=self.link, bf16=self.bf16)
        positive_numbers(**{name: peak for name, peak in (("fp8", self.fp8), ("fp4", self.fp4)) if peak is not None})

    def peak(self, form: str) -> float:
        """FLOP per second in a format. Raises ValueError if the device has none."""
        peaks = {"bf16": self.bf16, "fp8": self.fp8, "fp4": self.fp4}
        if not isinstance(form, str) or peaks.get(form) is None:
            has = ", ".join(name for name, peak in peaks.items() if peak is not None)
            raise ValueError(f"form={shown(form)}: {self.name} has products in {has}")
        return peaks[form] or self.bf16

    def ridge(self, form: str = "bf16") -> float:
        """FLOP per byte above which products, not memory, are the limit."""
        return self.peak(form) / self.bandwidth


def _tera(name: str, memory: float, bandwidth: float, link: float, *peaks: float, source: str) -> Device:
    """From GB, GB/s, GB/s and TFLOP/s in bf16, fp8 and fp4."""
    fp8, fp4 = (*(1e12 * peak for peak in peaks[1:]), None, None)[:2]
    return Device(
        name=name,
        memory=memory * 1e9,
        bandwidth=bandwidth * 1e9,
        link=link * 1e9,
        bf16=peaks[0] * 1e12,
        fp8=fp8,
        fp4=fp4,
        source=source,
    )


DEVICES = {
    device.name: device
    for device in (
        _tera("A100 40GB", 40, 1555, 300, 312, source="NVIDIA A100 Tensor Core GPU data sheet, SXM"),
        _tera("A100 80GB", 80, 2039, 300, 312, source="NVIDIA A100 Tensor Core GPU data sheet, SXM"),
        _tera("H100", 80, 3350, 450, 989.4, 1978.9, source="NVIDIA H100 Tensor Core GPU data sheet, SXM5"),
        _tera("H800", 80, 3350, 200, 989.4, 1978.9, source="H100 with NVLink of 400 GB/s: arXiv:2505.09343"),
        _tera("H20", 96, 4000, 450, 148, 296, source="NVIDIA HGX H20 specifications, as the press has them"),
        _tera("H200", 141, 4800, 450, 989.4, 1978.9, source="NVIDIA H200 Tensor Core GPU data sheet, SXM"),
        _tera("B200", 180, 8000, 900, 2250, 4500, 9000, source="NVIDIA HGX B200 specifications, 1,000 W"),
        _tera("L4", 24, 300, 32, 121, 242.5, source="NVIDIA L4 data sheet; link: PCIe 4.0 x16"),
        _tera("L40S", 48, 864, 32, 362.05, 733, source="NVIDIA L40S data sheet; link: PCIe 4.0 x16"),
        _tera("RTX 4090", 24, 1008, 32, 165.2, 330.3, source="NVIDIA Ada architecture white paper, fp32 accumulation"),
        _tera("MI300X", 192, 5300, 448, 1307.4, 2614.9, source="AMD Instinct MI300X data sheet"),
        _tera("MI325X", 256, 6000, 448, 1307.4, 2614.9, source="AMD Instinct MI325X data sheet"),
        _tera("MI355X", 288, 8000, 537.6, 2500, 5000, 10000, source="AMD Instinct MI355X data sheet, rounded"),
        _tera("TPU v4", 32 * GIB / 1e9, 1200, 300, 275, source="Google Cloud TPU v4 documentation"),
        _tera("TPU v5e", 16, 819, 200, 197, source="Google Cloud TPU v5e documentation"),
        _tera("TPU v5p", 95 * GIB / 1e9, 2765, 600, 459, 459, source="Google Cloud TPU v5p documentation"),
        _tera("TPU v6e", 32 * GIB / 1e9, 1638, 400, 918, 918, source="Google Cloud TPU v6e documentation"),
        _tera("TPU7x", 192 * GIB / 1e9, 7380, 600, 2307, 4614, source="Google Cloud TPU7x documentation"),
    )
}
# Bytes per second in one direction, for each device.
LINKS = {
    "InfiniBand HDR": 25e9,
    "InfiniBand NDR": 50e9,
    "InfiniBand XDR": 100e9,
    "PCIe 4.0 x16": 32e9,
    "PCIe 5.0 x16": 64e9,
}


def device(name: str) -> Device:
    """The device of that name. Raises ValueError naming those there are."""
    if not isinstance(name, str) or name not in DEVICES:
        raise ValueError(f"device={shown(name)} must be one of {', '.join(DEVICES)}")
    return DEVICES[name]
