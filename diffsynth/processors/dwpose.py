"""`ControlnetImageProcesserDWPose`: whole-body key points, found by DWPose."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from pydantic import Field

from diffsynth.config import OptionalPath
from diffsynth.errors import UnavailableError
from diffsynth.frames import Image
from diffsynth.processors.base import Mapper, PerFrame, Processor
from diffsynth.processors.detection import to_detection, to_frame
from diffsynth.processors.network import NetworkSettings
from diffsynth.processors.weights import annotator, require, weights_identity
from diffsynth.runtime import Runtime

PARTS = ("mmcv", "mmdet", "mmpose")


class ControlnetImageProcessorDWPoseConfig(NetworkSettings):
    """Key points of body, hands and face, found by DWPose; needs mmcv, mmdet and mmpose."""

    type: Literal["ControlnetImageProcesserDWPose"] = Field(default="ControlnetImageProcesserDWPose", exclude=True)
    model_path: OptionalPath = None
    """The file `dw-ll_ucoco_384.pth`; left out, it is fetched."""
    detector_path: OptionalPath = None
    """The file of the YOLOX detector; left out, it is fetched."""
    detect_resolution: int = Field(default=512, ge=64, le=8192)
    """Shorter side at which people are found and drawn."""

    def build(self, runtime: Runtime) -> Processor:
        name = self.name()
        require("controlnet_aux", name)
        missing = [part for part in PARTS if importlib.util.find_spec(part) is None]
        if missing:
            raise UnavailableError(
                f"{name} needs {', '.join(missing)}, which the extra annotators does not bring: they have to be "
                'built for one release of torch: pip install openmim, then mim install "mmcv>=2.0.1" "mmdet>=3.1.0" '
                '"mmpose>=1.1.0". ControlnetImageProcesserPose with "hands" and "face" finds the same points without.'
            )
        place, resolution = self.place(runtime), self.detect_resolution
        network, detector = (None if path is None else str(path) for path in (self.model_path, self.detector_path))
        held = {
            key: "published" if path is None else weights_identity(path)
            for key, path in (("weights", self.model_path), ("detector", self.detector_path))
        }

        @contextmanager
        def opened() -> Iterator[Mapper]:
            aux = annotator("dwpose", name)
            device = place.runtime.torch_device()
            whole = aux.DWposeDetector(pose_ckpt=network, det_ckpt=detector, device=str(device))

            def pose(frame: Image) -> Image:
                seen = to_detection(frame, resolution)
                found = whole(seen, resolution, min(seen.shape[:2]), output_type="np")
                return to_frame(np.asarray(found), *frame.shape[:2])

            try:
                yield lambda frames: [pose(frame) for frame in frames]
            finally:
                whole.to("cpu")
                place.runtime.release_memory()

        return PerFrame(self.fingerprint(**held), opened)
