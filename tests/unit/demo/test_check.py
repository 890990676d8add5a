"""The checks accept what they should and nothing else."""

import numpy as np
import pytest

from demo import check
from demo.painter import Scene, draw
from demo.painter.light import Lit
from demo.painter.styles import render


@pytest.fixture(scope="module")
def perfect() -> check.Gallery:
    canvases = [draw(Scene.from_seed(7000 + k), 5.0, (192, 192)) for k in range(3)]
    painted = {
        wish: np.stack([render(Lit(canvas, wish[1], wish[2]), wish[0]) for canvas in canvases]) for wish in check.WISHES
    }
    sources = [render(Lit(canvas, "summer", "day"), "photo") for canvas in canvases]
    return check.Gallery(sources, painted, painted, seeds=1)


def findings(gallery: check.Gallery) -> list[check.Finding]:
    return [*check.check_colours(gallery), *check.check_edges(gallery), *check.check_seasons(gallery)]


def test_the_painters_own_pictures_pass(perfect: check.Gallery) -> None:
    assert [str(finding) for finding in findings(perfect) if not finding.met] == []


def test_pictures_of_other_scenes_fail_on_edges(perfect: check.Gallery) -> None:
    rolled = {wish: np.roll(pictures, 1, axis=0) for wish, pictures in perfect.drawn.items()}
    wrong = check.Gallery(perfect.sources, rolled, perfect.painted, 1)
    assert all(not finding.met for finding in check.check_edges(wrong) if "recall" in finding.name)


def test_always_summer_binds_no_season(perfect: check.Gallery) -> None:
    summer = {(style, season, time): perfect.drawn[style, "summer", time] for style, season, time in check.WISHES}
    (finding,) = check.check_seasons(check.Gallery(perfect.sources, summer, perfect.painted, 1))
    assert finding.value == pytest.approx(0.25)
    assert not finding.met


def test_edge_agreement_of_a_picture_with_itself_and_with_nothing() -> None:
    picture = render(Lit(draw(Scene.from_seed(7), 0, (96, 96)), "summer", "day"), "photo")
    assert check.edge_agreement(picture, picture) == (1.0, 1.0)
    assert check.edge_agreement(np.full_like(picture, 90), picture) == (0.0, 0.0)


def test_measures_of_plain_colours() -> None:
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert check.brightness(red) == pytest.approx(1 / 3)
    assert check.warmth(red) == 1.0
    assert check.saturation(red) == 1.0
