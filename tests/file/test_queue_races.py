"""The queues under many threads, by themselves: queues/stress.c, built thrice.

ThreadSanitizer does not see what the kernel writes. It sees the rings, the sample of pages
that all threads count in, and queues that one thread takes over from another.
"""

from pathlib import Path

import numpy as np
import pytest
import stress

pytestmark = stress.MARKS

SOURCES = [
    Path(__file__).parent / "queues/stress.c",
    *(stress.CORE / "_queue").glob("*.c"),
]


@pytest.mark.parametrize("flags", stress.BUILDS.values(), ids=stress.BUILDS)
def test_queues_of_many_threads(tmp_path, flags):
    np.arange(0, 1 << 22, 8).tofile(tmp_path / "offsets")
    command = stress.built(tmp_path / "stress", SOURCES, flags)
    stress.run([*command, tmp_path / "offsets", "150"])
