"""Annotator networks with random weights, saved as the published files are laid out."""

import contextlib
import functools
import importlib.util
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_files
import pytest
import torch

INSTALLED = importlib.util.find_spec("controlnet_aux") is not None
needs_annotators = pytest.mark.skipif(
    not INSTALLED, reason="needs controlnet_aux, of the extra annotators; `pip install .[dev]` brings it"
)


def randomised(network: torch.nn.Module, seed: int, gain: float = 1.0) -> torch.nn.Module:
    """Weights under which signals neither die nor explode, whatever was drawn before."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.empty_like(parameter).normal_(generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * gain * (2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.copy_(parameter.round() + 0.05 * noise)
    return network.eval()


def _aux(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"controlnet_aux.{module}")


def hed() -> torch.nn.Module:
    return randomised(_aux("hed").ControlNetHED_Apache2(), 1, 0.5)


def pidinet() -> torch.nn.Module:
    return randomised(_aux("pidi.model").pidinet(), 2)


def lineart() -> torch.nn.Module:
    return randomised(_aux("lineart").Generator(3, 1, 3), 3)


def lineart_coarse() -> torch.nn.Module:
    return randomised(_aux("lineart").Generator(3, 1, 3), 4)


def lineart_anime() -> torch.nn.Module:
    norm = functools.partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
    return randomised(_aux("lineart_anime").UnetGenerator(3, 1, 8, 64, norm_layer=norm), 5, 0.3)


def mlsd() -> torch.nn.Module:
    return randomised(_aux("mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large(), 6, 0.9)


def normal_bae() -> torch.nn.Module:
    settings = SimpleNamespace(mode="client", architecture="BN", sampling_ratio=0.4, importance_ratio=0.7)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return randomised(_aux("normalbae.nets.NNET").NNET(settings), 7, 0.7)


PATCH = 2**16
"""Random numbers that a large tensor is made from."""


def _save(
    path: Path, network: torch.nn.Module, wrap: Callable[[dict[str, Any]], Any], *, repeating: bool = True
) -> None:
    """Large tensors go to disk as one patch of their numbers, seen over and over: a tenth of the bytes or less."""
    state = network.state_dict()
    torch.save(wrap({key: _repeating(value) for key, value in state.items()} if repeating else state), path)


def _repeating(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.numel() <= PATCH:
        return tensor
    steps = [PATCH // tensor.ndim // side for side in tensor.shape]
    return tensor.flatten()[:PATCH].clone().as_strided(tensor.shape, steps)


def _without_first_segment(state: dict[str, Any]) -> dict[str, Any]:
    return {key.partition(".")[2]: value for key, value in state.items()}


def _parallel(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {key: {f"module.{name}": value for name, value in state.items()}}


def save_openpose(folder: Path, *, somebody: bool = False) -> None:
    """Weights so small that nobody is found, as on most frames; or such as find somebody everywhere, each number of
    them its own: weights that repeat find so many that no test would end."""
    model = _aux("open_pose.model")
    face = _aux("open_pose.face")
    gain = 1.0 if somebody else 0.5
    parts = [
        ("body_pose_model.pth", model.bodypose_model(), 8, _without_first_segment),
        ("hand_pose_model.pth", model.handpose_model(), 9, _without_first_segment),
        ("facenet.pth", face.FaceNet(), 10, lambda state: state),
    ]
    for name, network, seed, wrap in parts:
        _save(folder / name, randomised(network, seed, gain), wrap, repeating=not somebody)


FILES: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[dict[str, Any]], Any]]] = {
    "ControlNetHED.pth": (hed, lambda state: state),
    "table5_pidinet.pth": (pidinet, _parallel("state_dict")),
    "sk_model.pth": (lineart, lambda state: state),
    "sk_model2.pth": (lineart_coarse, lambda state: state),
    "netG.pth": (lineart_anime, lambda state: {f"module.{name}": value for name, value in state.items()}),
    "mlsd_large_512_fp32.pth": (mlsd, lambda state: state),
    "scannet.pt": (normal_bae, _parallel("model")),
}


class Annotators:
    """A folder of weights, each file made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def with_file(self, name: str) -> str:
        if not (self.folder / name).exists():
            make, wrap = FILES[name]
            _save(self.folder / name, make(), wrap)
        return str(self.folder)

    def openpose(self) -> str:
        if not (self.folder / "facenet.pth").exists():
            save_openpose(self.folder)
        return str(self.folder)

    def dwpose(self) -> str:
        """Somebody as large as the picture, all of them where it is brightest."""
        if not (self.folder / "yolox_l.onnx").exists():
            answers = np.zeros((8400, 85), np.float32)
            answers[8399] = [0, 0, 3, 3, 1, 1, *[0] * 79]
            onnx_files.detector(self.folder / "yolox_l.onnx", answers)
            onnx_files.brightest_point(self.folder / "dw-ll_ucoco_384.onnx", np.ones(133, np.float32))
        return str(self.folder)

    def depth(self) -> str:
        """A tiny DPT as transformers saves one."""
        from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

        folder = self.folder / "dpt"
        if not folder.exists():
            sizes: dict[str, Any] = {"neck_hidden_sizes": [8, 8, 8, 8], "backbone_out_indices": [0, 1, 2, 3]}
            config = DPTConfig(
                hidden_size=16,
                num_hidden_layers=4,
                num_attention_heads=2,
                intermediate_size=32,
                image_size=64,
                patch_size=16,
                fusion_hidden_size=8,
                reassemble_factors=[4, 2, 1, 0.5],
                **sizes,
            )
            randomised(DPTForDepthEstimation(config), 11).save_pretrained(folder)  # type: ignore[operator]
            DPTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
        return str(folder)

    def segmentation(self) -> str:
        """A tiny SegFormer with the classes of ADE20K."""
        from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

        folder = self.folder / "segformer"
        if not folder.exists():
            config = SegformerConfig(
                num_labels=150, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], decoder_hidden_size=16
            )
            randomised(SegformerForSemanticSegmentation(config), 12).save_pretrained(folder)  # type: ignore[operator]
            SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
        return str(folder)
