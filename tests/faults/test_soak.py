"""A quarter of a minute of mixed calls with faults; `tests/benchmarks/soak.py` runs for longer."""

from __future__ import annotations

import os

import pytest
import soak


@pytest.mark.long
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not say")
def test_nothing_is_lost_crossed_untyped_or_left_over() -> None:
    result = soak.run(15)
    assert result.wrong == []
    kinds = {"complete", "stream", "embed", "left early", "cancelled", "interrupted"}
    assert kinds <= result.outcomes.keys()
