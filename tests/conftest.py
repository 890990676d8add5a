"""Fixtures for all tests."""

import pytest
from media import Media


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Real clips, each made once a session."""
    return Media(tmp_path_factory.mktemp("media"))
