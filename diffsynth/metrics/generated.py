"""All measures of drawn videos, each with what it would be for videos that are only noise, and for clips never seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.errors import MediaError
from diffsynth.metrics.digit_templates import digit_of
from diffsynth.metrics.frechet import frechet_distance
from diffsynth.metrics.motion import SPEEDS, apart, changes, histogram
from diffsynth.metrics.moving_blob import is_moving_shape
from diffsynth.metrics.nearest import nearest
from diffsynth.metrics.shape_templates import colour_of, shape_of
from diffsynth.runtime import Runtime, numpy_generator
from diffsynth.training.data.moving_digits import NAMES
from diffsynth.training.samples import Videos

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Compared:
    """Drawn videos, clips of the data set, and further clips of it that stand for perfect videos."""

    samples: Sequence[Pixels]
    labels: Sequence[int | None]
    reference: Sequence[Pixels]
    held_back: Sequence[Pixels]
    classes: Sequence[str] = ()
    """The data set's names for the labels."""

    def told(self, metric: str) -> list[str]:
        """The class that each sample should show."""
        if any(label is None for label in self.labels):
            raise MediaError(
                f'"{metric}" needs to know what each sample should show: evaluate a run of `sample` whose model is '
                "told classes."
            )
        labels = [label for label in self.labels if label is not None]
        if max(labels) >= len(self.classes):
            raise MediaError(
                f'"{metric}": samples have labels up to {max(labels)}, but the classes of "dataset" are '
                f"{len(self.classes)}: {', '.join(self.classes)}. Give the data set that the model learned."
            )
        return [self.classes[label] for label in labels]

    def noise(self, seed: int) -> Sequence[Pixels]:
        """As many videos of nothing but noise."""
        shape = self.samples[0].shape
        return Videos(
            range(len(self.samples)),
            lambda number: numpy_generator(seed, "noise video", number).integers(0, 256, shape, np.uint8),
        )

    def unseen(self) -> Sequence[Pixels]:
        """Clips of the data set, as many as there are samples where there are so many."""
        return self.held_back[: len(self.samples)]


def measured(name: str, compared: Compared, seed: int, i3d: Path | None, runtime: Runtime) -> dict[str, Any]:
    match name:
        case "frechet_random_conv3d":
            return random_frechet(compared, seed)
        case "fvd":
            assert i3d is not None
            return fvd(compared, i3d, runtime)
        case "digit_accuracy":
            return digit_accuracy(compared)
        case "shape_accuracy":
            return shape_accuracy(compared)
        case "moving_shapes":
            return moving_shapes(compared, seed)
        case "motion_histogram":
            return motion(compared, seed)
        case _:
            return remembered(compared)


def random_frechet(compared: Compared, seed: int) -> dict[str, Any]:
    """By a network that has learned nothing: to compare runs on one data set, not with published figures."""
    from diffsynth.metrics.video_features import RANDOM_LARGEST, random_features

    reference = random_features(compared.reference, seed)

    def distance(videos: Sequence[Pixels]) -> float:
        return frechet_distance(random_features(videos, seed), reference)

    return {
        "value": distance(compared.samples),
        "of_noise": distance(compared.noise(seed)),
        "of_unseen_clips": distance(compared.unseen()),
        "network": f"random 3-D convolutions, seed {seed}, frames of {RANDOM_LARGEST} pixels at most",
    }


def fvd(compared: Compared, path: Path, runtime: Runtime) -> dict[str, Any]:
    """The Fréchet video distance, with all that its figure hangs on."""
    from diffsynth.metrics.video_features import I3D_SIDE, I3d

    network = I3d(path, runtime.torch_device())
    value = frechet_distance(network.features(compared.samples), network.features(compared.reference))
    shape = compared.reference[0].shape
    return {
        "value": value,
        "n": len(compared.samples),
        "n_reference": len(compared.reference),
        "frames": shape[0],
        "subsampling": "one window a clip, as the data set draws it",
        "resize": f"trilinear from {shape[1]}x{shape[2]} to {I3D_SIDE}x{I3D_SIDE}",
        "i3d_sha256": network.digest,
    }


def digit_accuracy(compared: Compared) -> dict[str, Any]:
    """How often a drawing of the wanted digit fits best."""
    return _accuracy(compared.told("digit_accuracy"), [NAMES[digit_of(each)] for each in compared.samples])


def shape_accuracy(compared: Compared) -> dict[str, Any]:
    """How often a drawing of the wanted shape fits best and, where the class tells it, the colour is nearest too."""
    seen = [f"{colour_of(each)} {shape_of(each)}" for each in compared.samples]
    told = compared.told("shape_accuracy")
    return _accuracy(told, [found if " " in name else found.split()[1] for name, found in zip(told, seen, strict=True)])


def _accuracy(told: Sequence[str], seen: Sequence[str]) -> dict[str, Any]:
    right = [found == name for found, name in zip(seen, told, strict=True)]
    by_class = {
        each: float(np.mean([ok for ok, name in zip(right, told, strict=True) if name == each]))
        for each in sorted(set(told))
    }
    return {"value": float(np.mean(right)), "by_class": by_class, "seen": list(seen)}


def moving_shapes(compared: Compared, seed: int) -> dict[str, Any]:
    """How many videos show one connected shape of one colour on a way without jumps, in all frames."""

    def share(videos: Sequence[Pixels]) -> float:
        return float(np.mean([is_moving_shape(each) for each in videos]))

    return {
        "value": share(compared.samples),
        "of_noise": share(compared.noise(seed)),
        "of_unseen_clips": share(compared.held_back),
        "of_samples_with_frames_in_any_order": share(shuffled(compared.samples, seed)),
    }


def shuffled(videos: Sequence[Pixels], seed: int) -> list[Pixels]:
    chance = numpy_generator(seed, "shuffled frames")
    return [each[chance.permutation(len(each))] for each in videos]


def motion(compared: Compared, seed: int) -> dict[str, Any]:
    """Histograms of speed, and how far apart they are: 0 is the same, 1 nothing in common."""
    there = histogram(compared.reference)
    here = histogram(compared.samples)
    return {
        "value": apart(here, there),
        "of_noise": apart(histogram(compared.noise(seed)), there),
        "of_unseen_clips": apart(histogram(compared.unseen()), there),
        "change": float(np.mean([changes(each) for each in compared.samples])),
        "change_of_reference": float(np.mean([changes(each) for each in compared.reference])),
        "edges": SPEEDS.round(6).tolist(),
        "samples": here.tolist(),
        "reference": there.tolist(),
    }


def remembered(compared: Compared) -> dict[str, Any]:
    """Distances to the nearest clip. Samples much nearer than unseen clips are were learned by heart."""
    found = nearest(compared.samples, compared.reference)
    unseen = nearest(compared.unseen(), compared.reference)
    return {
        "value": float(found.distances.mean()),
        "least": float(found.distances.min()),
        "of_unseen_clips": float(unseen.distances.mean()),
        "least_of_unseen_clips": float(unseen.distances.min()),
        "distances": found.distances.round(4).tolist(),
        "clips": found.clips.tolist(),
    }
