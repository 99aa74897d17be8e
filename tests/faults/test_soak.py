"""A quarter of a minute of mixed calls with faults; `tests/benchmarks/soak.py` runs for longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"
KINDS = ("complete", "stream", "embed", "left early", "cancelled", "interrupted")


@pytest.mark.long
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not say")
def test_nothing_is_lost_crossed_untyped_or_left_over() -> None:
    # In a process of its own, whose coverage is not measured: a signal that interrupts the
    # measuring inside a lock stops that thread for good.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, str(SOAK), "--seconds", "15"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [kind for kind in KINDS if f"'{kind}'" not in done.stdout + done.stderr] == []
