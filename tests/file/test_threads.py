"""A batch in several threads, of which only the main one sees signals."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import yammap


def test_ctrl_c_ends_all_threads(path, monkeypatch):
    """It comes while they are waited for, by the only thread that sees signals."""
    path.write_bytes(b"x")
    out = np.zeros(4, np.uint8)
    parts = []

    class Pool(ThreadPoolExecutor):
        def map(self, function, batches):
            parts.extend(batches)
            raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor", Pool)
    with yammap.open(path) as m:
        with pytest.raises(KeyboardInterrupt):
            m.gather([0, 0, 0, 0], 1, out, threads=2)
        for part in parts:
            part.copy()
    assert len(parts) == 2
    assert not out.any()
