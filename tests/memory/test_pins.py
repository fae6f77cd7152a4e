"""Pins, by themselves: pins/stress.c, built thrice.

Python with a GIL takes no pins, so no other test of it would notice that one is missing.
"""

from pathlib import Path

import pytest
import stress

SOURCE = Path(__file__).parent / "pins/stress.c"

pytestmark = stress.MARKS

MORE_FLAGS = {"thread": ["-Wno-tsan"]}  # of the fence, which it passes over


@pytest.mark.parametrize("build", stress.BUILDS)
def test_no_region_is_freed_while_a_thread_reads_it(tmp_path, build):
    flags = [*stress.BUILDS[build], *MORE_FLAGS.get(build, [])]
    command = stress.built(tmp_path / "stress", [SOURCE], flags)
    _, held, _, pins = stress.run([*command, "50"]).split()
    assert int(held) > 0
    assert int(pins) == 3  # a thread that ends leaves its pin to the next one
