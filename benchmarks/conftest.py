"""What the smoke test shares: a lab for files that are a thousandth of the report's."""

import pytest
from yammap._bench._lab import Lab


def pytest_addoption(parser):
    parser.addoption("--scale", type=float, default=0.001, help="sizes: 1 is the report's")


@pytest.fixture(scope="session")
def lab(request, tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("lab"), request.config.getoption("scale")) as lab:
        yield lab
