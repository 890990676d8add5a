"""Makes the shippable model from a work folder: `python -m demo.export --work demo/work --to demo/model`.

Weights in fp16 safetensors, the diffusers layout with a `model_index.json`, and the model card filled in from the plan.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel

CARD = Path(__file__).parent / "MODEL_CARD.md"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export(work: Path, to: Path, report: str) -> None:
    trained = work / "model"
    to.mkdir(parents=True, exist_ok=True)
    for name, kind in (
        ("unet", UNet2DConditionModel),
        ("vae", AutoencoderKL),
        ("controlnet_edges", ControlNetModel),
        ("controlnet_depth", ControlNetModel),
    ):
        if (trained / name).exists():
            kind.from_pretrained(trained / name).to(torch.float16).save_pretrained(to / name)
    CLIPTextModel.from_pretrained(trained / "text_encoder").to(torch.float16).save_pretrained(to / "text_encoder")
    for name in ("tokenizer", "scheduler"):
        shutil.copytree(trained / name, to / name, dirs_exist_ok=True)
    for settings in to.glob("*/config.json"):
        # Where the weights were trained is nobody's business.
        kept = json.loads(settings.read_text(encoding="utf-8"))
        kept.pop("_name_or_path", None)
        settings.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    (to / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n", encoding="utf-8")
    plan = json.loads((work / "plan.json").read_text(encoding="utf-8"))
    card = CARD.read_text(encoding="utf-8")
    for name, value in {**plan, "report": report}.items():
        card = card.replace("{" + name + "}", str(value))
    (to / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.export", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--report", type=Path, help="what `python -m demo.check` printed, for the card")
    args = parser.parse_args()
    export(args.work, args.to, args.report.read_text(encoding="utf-8") if args.report else "not measured yet")


if __name__ == "__main__":
    main()
