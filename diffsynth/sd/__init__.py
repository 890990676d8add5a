"""Stable Diffusion: its parts from disk or the hub, and what they say to a clip."""
