"""Paints little scenes, and knows everything about them: depth, lines, segmentation, motion, occlusion.

scene = Scene.from_seed(7)
picture = paint(scene, "oil", "winter", "sunset", frame=0, size=(192, 192))
for frame in paint_clip(scene, "photo", "summer", "day", frames=24, size=(256, 192)):
    frame.picture, frame.depth, frame.lines, frame.segmentation, frame.flow, frame.occlusion
"""

from demo.painter.canvas import Canvas, Size, draw
from demo.painter.captions import caption
from demo.painter.clip import ClipFrame, paint, paint_clip
from demo.painter.palette import SEASONS, TIMES, Season, Time
from demo.painter.scene import Scene, SceneKind, Thing
from demo.painter.styles import LINE_STYLES, STYLES, Style
from demo.painter.truth import LABELS

__all__ = [
    "LABELS",
    "LINE_STYLES",
    "SEASONS",
    "STYLES",
    "TIMES",
    "Canvas",
    "ClipFrame",
    "Scene",
    "SceneKind",
    "Season",
    "Size",
    "Style",
    "Thing",
    "Time",
    "caption",
    "draw",
    "paint",
    "paint_clip",
]
