"""Weights that several files share."""

import pytest
from annotators import Annotators


@pytest.fixture(scope="session")
def annotators(tmp_path_factory: pytest.TempPathFactory) -> Annotators:
    return Annotators(tmp_path_factory.mktemp("annotators"))
