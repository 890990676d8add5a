"""Settings of a stylization that don't go together, and settings that say nothing."""

from collections.abc import Iterator

from diffsynth.attention.patterns import PAINTED, REFERENCE
from diffsynth.config import Contradiction
from diffsynth.config.keyed import values
from diffsynth.sd.prompt import overweight
from diffsynth.tasks.prompts import caption_file, too_heavy
from diffsynth.tasks.sampled_clip import SampledClip
from diffsynth.tasks.stylize_settings import StylizeSettings

TRACKS = ("prompt", "negative_prompt", "guidance_scale", "seed_of_noise", "img2img_strength")
"""What can be said by frame, beside the weights of nets and LoRAs."""


def contradictions(config: StylizeSettings) -> Iterator[Contradiction]:
    """What keeps a config from running."""
    yield from _of_the_pattern(config)
    yield from _of_partners(config)
    yield from _of_components(config)
    yield from _of_smoothing(config)


def _of_the_pattern(config: StylizeSettings) -> Iterator[Contradiction]:
    if 0 not in config.pattern():
        yield Contradiction(
            ("combine_pattern",),
            f'"combine_pattern" is {list(config.combine_pattern)}; it must contain 0, the frame itself.',
        )
    count = len(config.frames_reference)
    for entry in config.pattern():
        match = REFERENCE.fullmatch(entry) if isinstance(entry, str) else None
        if match and int(match[1]) >= count:
            have = f"has {count} image{'s' if count != 1 else ''}" if count else "is empty"
            use = f'Use "reference_{count - 1}", or add' if count else "Add"
            yield Contradiction(
                ("combine_pattern", "frames_reference"),
                f'combine_pattern names "{entry}", but frames_reference {have}.\n  {use} a path to frames_reference.',
            )
    if not config.keyframes and any(PAINTED.fullmatch(str(entry)) for entry in config.pattern()):
        yield Contradiction(
            ("combine_pattern", "keyframes"),
            'combine_pattern names key frames, but "keyframes" is empty. Add some: {"0": "painted.png"}.',
        )


def _of_partners(config: StylizeSettings) -> Iterator[Contradiction]:
    """Settings that want another one beside them, or none."""
    for part in filter(None, map(overweight, config.wording().all())):
        yield Contradiction(("prompt", "negative_prompt", "background_prompt"), too_heavy(part))
    if config.background_prompt is not None and config.mask is None:
        yield Contradiction(
            ("background_prompt", "mask"), '"background_prompt" is painted outside of a "mask", which is not given.'
        )
    if config.wording().captioned:
        yield from _of_the_caption(config)
    if config.feature_cache > 1 and config.attention_mode == "window":
        yield Contradiction(
            ("feature_cache", "attention_mode"),
            '"feature_cache" keeps what is said of a frame, but "attention_mode": "window" takes each frame '
            'through them in several windows. Use "shared", or leave "feature_cache" out.',
        )
    if config.noise == "warped" and isinstance(config.seed_of_noise, dict):
        yield Contradiction(
            ("noise", "seed_of_noise"),
            '"noise": "warped" carries one noise through the clip; "seed_of_noise" by frame would draw another. '
            "Give one seed, or another noise.",
        )
    if config.shuffles() and config.style_image is None:
        yield Contradiction(
            ("controlnets", "style_image"),
            'ControlnetImageProcesserShuffle takes its look from "style_image", which is not given.\n  '
            "Add it, or leave that net out.",
        )


def _of_the_caption(config: StylizeSettings) -> Iterator[Contradiction]:
    if isinstance(config.input_video, SampledClip):
        if config.input_video.caption() is None:
            yield Contradiction(
                ("prompt", "input_video"),
                '"prompt" asks for the clip\'s caption, but the model that draws the clip is told nothing of it.',
            )
    elif not (file := caption_file(config.main_clip())).is_file():
        yield Contradiction(
            ("prompt", "input_video"), f'"prompt" asks for the clip\'s caption, but there is no {file}. Write it.'
        )


def _of_components(config: StylizeSettings) -> Iterator[Contradiction]:
    for index, net in enumerate(config.controlnets):
        yield from net.contradictions(f"controlnets[{index}]")
    for index, lora in enumerate(config.lora):
        yield from lora.contradictions(f"lora[{index}]")
    for index, word in enumerate(config.textual_inversion):
        yield from word.contradictions(f"textual_inversion[{index}]")
    for index, adapter in enumerate(config.ip_adapter):
        yield from adapter.contradictions(f"ip_adapter[{index}]")


def _of_smoothing(config: StylizeSettings) -> Iterator[Contradiction]:
    if config.extra_deflickering_range and config.post_smoother:
        yield Contradiction(
            ("extra_deflickering_range", "post_smoother"),
            '"extra_deflickering_range" and "post_smoother" both smooth the finished frames. Keep one of them.',
        )


def beyond(config: StylizeSettings, frames: int | None) -> Iterator[str]:
    """Key frames that the clip doesn't reach."""
    if frames is None:
        return
    scales = {f"controlnets[{index}].scale": net.scale for index, net in enumerate(config.controlnets)}
    scales |= {f"lora[{index}].scale": lora.scale for index, lora in enumerate(config.lora)}
    tracks = {name: getattr(config, name) for name in TRACKS} | scales
    for name, track in tracks.items():
        if isinstance(track, dict) and max(track) >= frames:
            yield (
                f'"{name}" names frame {max(track)}, but the clip has {frames} frames, counted from 0: its value is '
                "never reached."
            )
    if late := [frame for frame in config.keyframes if frame >= frames]:
        yield f'"keyframes" holds frame {late[0]}, but the clip has {frames} frames: a run would stop with an error.'


def without_effect(config: StylizeSettings) -> Iterator[str]:
    """Settings that say nothing beside the others."""

    def changed(name: str) -> bool:
        return bool(getattr(config, name) != type(config).model_fields[name].default)

    if changed("halo") and config.attention_mode == "window":
        yield '"halo" makes no difference to "attention_mode": "window".'
    for name in ("smoother_interval", "ignore_smoother_steps"):
        if changed(name) and config.smoother is None:
            yield f'"{name}" makes no difference without a "smoother".'
    if config.frames_reference and not any(REFERENCE.fullmatch(str(entry)) for entry in config.pattern()):
        yield '"frames_reference" makes no difference: "combine_pattern" names none of them.'
    if changed("mask_feather") and config.mask is None:
        yield '"mask_feather" makes no difference without a "mask".'
    moving = [name for name in TRACKS if isinstance(getattr(config, name), dict) and name != "seed_of_noise"]
    if config.skip_still is not None and moving:
        yield f'"skip_still" looks at the clip alone: where that stands still, so does "{moving[0]}" by frame.'
    if config.preview is not None and config.skip_still is not None:
        yield '"skip_still" makes no difference to a "preview".'
    if config.style_image is not None and not config.shuffles():
        yield '"style_image" makes no difference: no ControlNet has the shuffle processor.'
    kept = int(config.num_inference_steps * max(values(config.img2img_strength)))
    if config.smoother is not None and config.ignore_smoother_steps >= kept:
        yield f'"ignore_smoother_steps" is {config.ignore_smoother_steps} of {kept} steps: "smoother" is never asked.'
