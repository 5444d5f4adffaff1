"""What a NumPy routing and its torch twin must agree on."""

import numpy as np

from moedocs import engine, lite

FIELDS = ("logits_TE", "probs_TE", "map_TE", "weights_TE", "index_TK", "dropped_TE")
EXACT = ("logits_TE", "map_TE", "index_TK", "dropped_TE")


def assert_same(torch_routing: engine.Routing, numpy_routing: lite.Routing) -> None:
    for field in FIELDS:
        expected, found = getattr(torch_routing, field).numpy(), getattr(numpy_routing, field)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        rtol, atol = (0, 0) if field in EXACT else (1e-5, 1e-30)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=field)
