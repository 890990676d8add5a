"""Smoothers: each takes the flicker out of a styled clip, led by the clip it was made from."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.smoothers.ebsynth_smoother import EbsynthSmootherConfig
from diffsynth.smoothers.fastblend import FastBlendSmootherConfig
from diffsynth.smoothers.py_synth import PySynthSmootherConfig
from diffsynth.smoothers.video_patch_match import VideoPatchMatchSmootherConfig

SmootherConfig = Annotated[
    EbsynthSmootherConfig | FastBlendSmootherConfig | PySynthSmootherConfig | VideoPatchMatchSmootherConfig,
    Field(discriminator="type"),
]

SmootherName = Literal["EbsynthSmoother", "FastBlendSmoother", "PySynthSmoother", "VideoPatchMatchSmoother"]
