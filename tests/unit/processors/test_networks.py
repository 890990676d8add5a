"""Each network against the tool that it was published with, on the same weights."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from annotators import INSTALLED, Annotators, needs_annotators
from moving import moving, nothing
from numpy.typing import NDArray
from pydantic import TypeAdapter

from diffsynth.errors import MissingFileError, UnavailableError
from diffsynth.frames import Image
from diffsynth.processors import ProcessorConfig, canonical_name
from diffsynth.processors.base import Stills
from diffsynth.processors.depth import nearness
from diffsynth.processors.network import Place
from diffsynth.processors.people import OpenPose, Person, draw
from diffsynth.processors.weights import weights_identity
from diffsynth.runtime import Runtime

CPU = Runtime("cpu", threads=1)
FRAMES = moving(2, 64, 128)


def built(name: str, runtime: Runtime = CPU, **keys: Any) -> Any:
    settings: Any = TypeAdapter(ProcessorConfig).validate_python({"type": canonical_name(name), **keys})
    return settings.build(runtime)


def ours(name: str, folder: Path, frames: list[Image] = FRAMES, runtime: Runtime = CPU, **keys: Any) -> list[Image]:
    return list(built(name, runtime, **keys).process(Stills(frames), folder, nothing))


def theirs(detector: str, folder: str, resolution: int = 64, **keys: Any) -> list[NDArray[np.int64]]:
    """Frame by frame through controlnet_aux's own detector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import controlnet_aux

    made = getattr(controlnet_aux, detector).from_pretrained(folder)
    return [
        np.asarray(
            made(frame, detect_resolution=resolution, image_resolution=resolution, output_type="np", **keys)
        ).astype(int)
        for frame in FRAMES
    ]


@needs_annotators
@pytest.mark.parametrize(
    ("name", "detector", "file", "keys", "their_keys"),
    [
        ("softedge", "HEDdetector", "ControlNetHED.pth", {}, {}),
        ("pidinet", "PidiNetDetector", "table5_pidinet.pth", {}, {}),
        ("lineart", "LineartDetector", "sk_model.pth", {}, {}),
        ("lineart", "LineartDetector", "sk_model.pth", {"coarse": True}, {"coarse": True}),
        pytest.param("lineart_anime", "LineartAnimeDetector", "netG.pth", {}, {}, marks=pytest.mark.slow),
        pytest.param("normal", "NormalBaeDetector", "scannet.pt", {}, {}, marks=pytest.mark.slow),
    ],
)
def test_the_map_is_the_published_tools(
    name: str,
    detector: str,
    file: str,
    keys: dict[str, Any],
    their_keys: dict[str, Any],
    annotators: Annotators,
    tmp_path: Path,
) -> None:
    annotators.with_file("sk_model2.pth")
    folder = annotators.with_file(file)
    found = ours(name, tmp_path / "out", model_path=folder, **keys)
    assert np.ptp(found[0]) > 20, "random weights that show nothing would prove nothing"
    # It cuts to levels where we round; OpenCV's bicubic and torch's have other kernels, by 0.75 and 0.5 of a level.
    allowed = 6 if name == "lineart_anime" else 1
    for mine, expected in zip(found, theirs(detector, folder, **their_keys), strict=True):
        assert np.abs(mine - expected).max() <= allowed


@needs_annotators
def test_scribbles_are_the_published_tools(annotators: Annotators, tmp_path: Path) -> None:
    folder = annotators.with_file("ControlNetHED.pth")
    found = ours("scribble", tmp_path / "out", model_path=folder)
    expected = theirs("HEDdetector", folder, scribble=True)
    assert 0 < np.mean(found[0] == 255) < 1
    # A level more or less turns a point of a ridge on or off, and with it a stroke of its width.
    assert all(np.mean(mine != other) < 0.1 for mine, other in zip(found, expected, strict=True))


@needs_annotators
def test_lines_are_the_published_tools(annotators: Annotators, tmp_path: Path) -> None:
    folder = annotators.with_file("mlsd_large_512_fp32.pth")
    found = ours("mlsd", tmp_path / "out", model_path=folder)
    assert found[0].max() == 255
    # Equal centres may come in another order, and the last of 200 lines may be another of the same score.
    for mine, expected in zip(found, theirs("MLSDdetector", folder), strict=True):
        assert np.mean(mine != expected) < 0.02


def test_depth_is_that_of_the_pipeline(annotators: Annotators, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation, pipeline

    folder = annotators.depth()
    estimate = pipeline(
        "depth-estimation",
        model=AutoModelForDepthEstimation.from_pretrained(folder),
        image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil"),
        device="cpu",
    )
    found = ours("depth", tmp_path / "out", model_path=folder)
    assert np.ptp(found[0]) == 255
    for mine, frame in zip(found, FRAMES, strict=True):
        expected = np.asarray(estimate(PIL.Image.fromarray(frame))["depth"]).astype(int)
        assert np.abs(mine[..., 0] - expected).max() <= 1  # the pipeline cuts to levels, we round
    cut = ours("depth", tmp_path / "cut", model_path=folder, threshold=100)
    assert np.array_equal(cut[0], np.where(found[0] < 100, 0, found[0]))


def test_distances_are_turned_over() -> None:
    metres = np.array([[1.0, 2.0], [4.0, 8.0]], np.float32)
    near = nearness(metres, invert=True)
    assert np.allclose(near, (1 / metres - 1 / 8) / (1 - 1 / 8))
    assert np.allclose(nearness(metres, invert=False), (metres - 1) / 7)
    assert not nearness(np.full((2, 2), 3.0, np.float32), invert=True).any()


def test_depth_anything_and_metric_models_load(tmp_path: Path) -> None:
    from annotators import randomised
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
    )
    folders = []
    for kind in ("relative", "metric"):
        config = DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=16,
            neck_hidden_sizes=[8, 8],
            reassemble_factors=[2, 1],
            fusion_hidden_size=8,
            head_hidden_size=4,
            depth_estimation_type=kind,
            max_depth=20 if kind == "metric" else 1,
        )
        folders.append(tmp_path / kind)
        randomised(DepthAnythingForDepthEstimation(config), 3).save_pretrained(folders[-1])
        preparation = DPTImageProcessor(size={"height": 56, "width": 56}, ensure_multiple_of=14, keep_aspect_ratio=True)
        preparation.save_pretrained(folders[-1])
    relative, metric = (ours("depth", tmp_path / f"out-{each.name}", model_path=str(each)) for each in folders)
    upright = ours("depth", tmp_path / "upright", model_path=str(folders[1]), invert=False)
    assert np.ptp(relative[0]) == np.ptp(metric[0]) == 255
    # What the metric network calls far is dark, unless it is told that its values are nearness.
    nearest = np.unravel_index(metric[0][..., 0].argmax(), (64, 128))
    assert upright[0][..., 0][nearest] == 0


@needs_annotators
def test_segments_have_the_palettes_colours(annotators: Annotators, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    folder = annotators.segmentation()
    network = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    preparation = AutoImageProcessor.from_pretrained(folder, backend="pil")
    found = ours("segmentation", tmp_path / "out", model_path=folder)
    from controlnet_aux.util import ade_palette

    palette = np.array(ade_palette())
    for mine, frame in zip(found, FRAMES, strict=True):
        with torch.no_grad():
            outputs = network(**preparation(images=frame, return_tensors="pt"))
        [classes] = preparation.post_process_semantic_segmentation(outputs, [(64, 128)])
        assert len(classes.unique()) > 1
        assert np.mean(palette[classes.numpy()] != mine) < 0.005  # ties between classes


@needs_annotators
@pytest.mark.slow
def test_people_are_found_as_by_the_published_tool(tmp_path: Path) -> None:
    from annotators import save_openpose

    save_openpose(tmp_path, somebody=True)
    settings: Any = TypeAdapter(ProcessorConfig).validate_python(
        {"type": canonical_name("openpose"), "model_path": str(tmp_path)}
    )
    with OpenPose.find(settings, CPU, hands=True, face=True).detecting() as detect:
        found = detect(FRAMES[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import controlnet_aux
    published = controlnet_aux.OpenposeDetector.from_pretrained(str(tmp_path))
    expected = published.detect_poses(FRAMES[0], include_hand=True, include_face=True)
    assert found, "random weights that find nobody would prove nothing"
    for mine, other in zip(found, expected, strict=True):
        assert mine.body == tuple(None if each is None else (each.x, each.y) for each in other.body.keypoints)
        assert (mine.left_hand is None, mine.face is None) == (other.left_hand is None, other.face is None)


@needs_annotators
def test_figures_are_drawn_as_by_the_published_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    import colorsys
    import sys
    from types import SimpleNamespace

    from diffsynth.processors.weights import annotator

    aux = annotator("open_pose", "test")
    generator = np.random.Generator(np.random.PCG64(4))

    def points(count: int) -> tuple[tuple[float, float], ...]:
        return tuple((float(x), float(y)) for x, y in generator.uniform(0.05, 0.95, (count, 2)))

    people = (
        Person((*points(17), None), points(21), None, points(70)),
        Person((None, *points(17)), None, ((-0.01, -0.01), *points(20)), None),
    )
    # All that the published drawing takes from matplotlib is this one function.
    colours = SimpleNamespace(hsv_to_rgb=lambda hsv: np.array(colorsys.hsv_to_rgb(*hsv)))
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(colors=colours))

    def keypoints(given: Any) -> Any:
        return None if given is None else [None if each is None else aux.Keypoint(*each) for each in given]

    poses = [
        aux.PoseResult(aux.BodyResult(keypoints(each.body), 0, 0), *map(keypoints, (each.left_hand, each.right_hand)),
                       keypoints(each.face))
        for each in people
    ]  # fmt: skip
    assert np.array_equal(draw(aux, people, 200, 300), aux.draw_poses(poses, 200, 300))


@needs_annotators
def test_half_precision_and_other_sizes(annotators: Annotators, tmp_path: Path) -> None:
    folder = annotators.with_file("ControlNetHED.pth")
    frames = moving(2, 70, 100)
    full = ours("softedge", tmp_path / "full", frames, model_path=folder, detect_resolution=128)
    half = ours(
        "softedge", tmp_path / "half", frames, Runtime("cpu", "bfloat16", 1), model_path=folder, detect_resolution=128
    )
    assert full[0].shape == (70, 100, 3)
    apart = np.abs(full[0].astype(int) - half[0])
    # bfloat16 has 8 bits: a hundredth of a level of the last sum of 15 layers each.
    assert apart.max() > 0
    assert apart.mean() < 4


def test_the_network_is_gone_afterwards() -> None:
    place = Place(CPU)
    with place.holding(lambda: torch.nn.Linear(4, 4)) as network:
        kept = network
        assert kept.weight.device.type == "cpu"
        assert not kept.training
        assert not kept.weight.requires_grad
    assert kept.weight.device.type == "meta", "its memory is still taken while somebody refers to it"


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    assert weights_identity(tmp_path / "a") == weights_identity(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"else")
    assert weights_identity(tmp_path / "a") != weights_identity(tmp_path / "b")
    # As the hub's client keeps a large file: a link to what is named by its content.
    (tmp_path / "blobs").mkdir()
    blob = tmp_path / "blobs" / hashlib.sha256(b"same").hexdigest()
    blob.write_bytes(b"same")
    (tmp_path / "link").symlink_to(blob)
    assert weights_identity(tmp_path / "link") == weights_identity(tmp_path / "a")


class TestWhatIsMissing:
    @needs_annotators
    def test_weights(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match=r"holds no ControlNetHED\.pth.*lllyasviel/Annotators"):
            built("softedge", model_path=str(tmp_path))
        with pytest.raises(MissingFileError, match=r"holds no config\.json"):
            built("depth", model_path=str(tmp_path))

    def test_the_hub(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Offline, what isn't on this machine is an error that names the repository and the other way."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(UnavailableError, match=r"Intel/dpt-large is not on this machine.*\"model_path\""):
            built("depth", model_path="Intel/dpt-large")
        if INSTALLED:
            with pytest.raises(UnavailableError, match=r"lllyasviel/Annotators is not on this machine"):
                built("pidinet")

    def test_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        find = importlib_find_spec()
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name, *rest: None if name == "controlnet_aux" else find(name, *rest)
        )
        for name in ("softedge", "pidinet", "lineart", "mlsd", "normal", "openpose", "segmentation", "dwpose"):
            with pytest.raises(UnavailableError, match=r'controlnet_aux.*pip install "diffsynth\[annotators\]"'):
                built(name)


def importlib_find_spec() -> Any:
    import importlib.util

    return importlib.util.find_spec
