"""Fixture: where a file is mapped."""

import os

import pytest


@pytest.fixture
def mapped_ranges(path):
    """Return a function: the address ranges at which this process maps the file."""

    def ranges():
        with open("/proc/self/maps") as maps:
            lines = [line.split(maxsplit=5) for line in maps]
        return [line[0] for line in lines if line[-1].rstrip() == os.fspath(path)]

    return ranges
