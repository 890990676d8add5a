"""Diffusion itself: schedules of noise, and the loop that walks them over a whole clip."""
