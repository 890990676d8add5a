"""The engine's tests need the engine built."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        import diffsynth.engines._native  # noqa: F401 - only whether it is there
    except ImportError:
        skip = pytest.mark.skip(reason="the engine is not built; run `make engine`")
        for item in items:
            if "tests/engine" in item.path.as_posix():
                item.add_marker(skip)
