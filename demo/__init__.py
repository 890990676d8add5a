"""The demo: a painter of scenes with known truth, and the recipe of a tiny Stable Diffusion that learns from them."""
