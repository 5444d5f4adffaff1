"""Numbers in prose: where a reference finds them, and how they read."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.cost import Quantity, atlas
from moedocs.cost.quoted import quoted
from moedocs.cost.wording import shown
from moedocs.lab import records
from moedocs.site import values


@pytest.mark.parametrize(
    ("value", "unit", "digits", "text"),
    [
        (46_702_792_704, "parameters", 3, "46.7 billion"),
        (999_600_000, "parameters", 3, "1.00 billion"),
        (999_400_000, "parameters", 3, "999 million"),
        (1_048_576, "parameters", 3, "1.05 million"),
        (32_768, "parameters", 3, "32,768"),
        (25.5e9, "FLOP", 3, "25.5 GFLOP"),
        (999.7e9, "FLOP", 3, "1.00 TFLOP"),
        (512, "FLOP", 3, "512 FLOP"),
        (93_405_585_408, "byte", 3, "93.4 GB"),
        (0.2757836, "share", 3, "27.6 %"),
        (0.5, "share", 2, "50 %"),
        (0.0000224, "share", 2, "0.0022 %"),
        (0.0, "share", 2, "0 %"),
        (8, "count", 3, "8"),
        (128_000, "count", 3, "128,000"),
        (3.6260051, "ratio", 3, "3.63"),
        (0.9996, "ratio", 3, "1.00"),
        (0.00001234, "ratio", 3, "0.0000123"),
        (-0.05, "ratio", 2, "-0.050"),
        (218, "second", 3, "218 s"),
    ],
)
def test_numbers_in_prose_have_their_unit_and_rounding(value: float, unit: str, digits: int, text: str) -> None:
    assert shown(Quantity(value, unit, "by hand"), digits) == text


SCALES = {
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
}
# Just below a power of ten, rounding leads to the next scale.
WHOLE = st.integers(0, 10**20) | st.builds(
    lambda power, part: 10**power - 10**power // part, st.integers(1, 14), st.integers(2, 10**6)
)
SIZES = {
    "parameters": WHOLE,
    "FLOP": WHOLE,
    "byte": WHOLE,
    "share": st.floats(1e-9, 1),
    "ratio": st.floats(1e-9, 1e9),
    "second": st.floats(1e-3, 1e8),
}


@st.composite
def quantities(draw: st.DrawFn) -> Quantity:
    unit = draw(st.sampled_from(sorted(SIZES)))
    return Quantity(draw(SIZES[unit]), unit, "drawn")


@given(quantities(), st.integers(1, 6))
def test_rounding_keeps_the_significant_digits_and_never_writes_an_exponent(quantity: Quantity, digits: int) -> None:
    text = shown(quantity, digits)
    match = re.fullmatch(r"([\d,]+(?:\.\d+)?) ?(million|billion|trillion|[kMGTPE])?(FLOP|B|%| s)?", text)
    assert match, text
    number, scale = float(match[1].replace(",", "")), SCALES.get(match[2] or "", 1.0)
    said = number * scale / (100 if quantity.unit == "share" else 1)
    assert said == pytest.approx(quantity.value, rel=0.5001 * 10 ** (1 - digits), abs=1e-30)
    written = match[1].replace(",", "").replace(".", "").lstrip("0")
    assert len(written) >= digits or quantity.value == number  # a whole number below the scales is told in full
    if match[2] not in ("trillion", "E", None):
        assert 1 <= number < 1000


def test_every_quantity_of_every_published_model_can_be_named_and_told(tmp_path: Path) -> None:
    for model, published in atlas.models().items():
        for name, quantity in quoted(published).items():
            assert values.look_up((model, name), tmp_path) == quantity
            assert shown(quantity).strip()


def test_a_ratio_divides_and_a_record_is_read_by_its_path(built: Path) -> None:
    ratio = values.look_up(("mixtral-8x7b", "total", "over", "mixtral-8x7b", "active"), built)
    assert (ratio.value, ratio.unit) == (46_702_792_704 / 12_879_925_248, "ratio")
    balance = records.load("balance").results
    last = values.look_up(("record/balance", "steps.-1"), built, "count")
    assert (last.value, last.unit) == (balance["steps"][-1], "count")
    # a name may have dots itself
    share = values.look_up(("record/balance", "arms.auxiliary-0.01/k1.2.largest_share.0"), built, "share")
    assert share.value == balance["arms"]["auxiliary-0.01/k1"][2]["largest_share"][0]
    assert values.look_up(("figure/collapse-lab", "slowdown"), built).unit == "ratio"
