"""What a LoRA's file is for, told from its header; no torch."""

import re

from diffsynth.errors import ModelError
from diffsynth.sd.tensor_files import TensorFile

WORDS = re.compile(r"attn2[._](?:processor\.)?to_k.*[._](?:down|A)\.(?:\w+\.)?weight")
OTHERS = {
    "hada_": "a LoHa",
    "lokr_": "a LoKr",
    "oft_": "an OFT",
    "lora_mid": "a LoCon in Tucker form",
    "dora_scale": "a DoRA",
    "lora_magnitude_vector": "a DoRA",
}
"""Relatives that change weights in other ways, by what their names hold."""


def check_lora(file: TensorFile, text_width: int | None, checkpoint: str) -> None:
    """`text_width` is how wide the words are that the checkpoint's denoiser reads; None where that is not known."""
    names = file.shapes
    for mark, name in OTHERS.items():
        if any(mark in key for key in names):
            raise ModelError(f"{file.path}: is {name}, which is not supported. Use a plain LoRA.")
    if not any("lora" in key for key in names):
        first = next(iter(names), "nothing")
        raise ModelError(f"{file.path}: holds no LoRA; its first entry is {first}. Name a LoRA's file.")
    found = next((shape[1] for key, shape in names.items() if WORDS.search(key) and len(shape) > 1), None)
    if found is not None and text_width is not None and found != text_width:
        raise ModelError(
            f"{file.path}: this LoRA is for {family(found)}, but {checkpoint} is {family(text_width)}. "
            "Use a LoRA that was made for that checkpoint."
        )


def family(text_width: int) -> str:
    known = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}
    return known.get(text_width, f"a checkpoint of text width {text_width}")
