"""Measures of a clip that need no network: how much it flickers, and what it paid for not flickering."""

from diffsynth.metrics.measure import METRICS, Curve, Measured, measure

__all__ = ["METRICS", "Curve", "Measured", "measure"]
