"""`--soak`: what tests draw at random, they draw much more often."""

import pytest
from hypothesis import settings

#: How many times as much.
FACTOR = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="kill and draw examples twenty times as often")


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("soak", max_examples=FACTOR * settings.default.max_examples, deadline=None)
    if config.getoption("--soak"):
        settings.load_profile("soak")


def examples(count: int) -> int:
    """Return how many examples a test draws that is too slow for the usual number: `count`, or more in a soak."""
    return count * FACTOR if settings.get_current_profile_name() == "soak" else count


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> int:
    """How many times as much as usual a test does: 1, or FACTOR with `--soak`."""
    return FACTOR if request.config.getoption("--soak") else 1
