"""Fixture: a mapping to work on."""

import pytest

import yammap


@pytest.fixture
def m(path):
    with yammap.open(path, "w+") as m:
        m.write(bytes(range(256)) * 64)
        yield m
