"""The model that ships meets its bars on scenes it never saw, drawn by the project's own stylization."""

from pathlib import Path

import pytest

from demo.check import check_colours, check_edges, check_seasons, check_size, check_vae, fill_gallery
from demo.studio import Studio

MODEL = Path(__file__).parents[2] / "demo" / "model"


@pytest.mark.slow
def test_the_demo_model_meets_every_bar() -> None:
    studio = Studio.open(MODEL)
    gallery = fill_gallery(studio, scenes=2, seeds=1, size=192, steps=8, guidance=2.5)
    findings = [*check_size(MODEL), *check_vae(studio, 3, 192), *check_colours(gallery), *check_edges(gallery)]
    findings += check_seasons(gallery)
    assert [str(finding) for finding in findings if not finding.met] == []
