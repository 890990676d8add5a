"""What can be said of a stylization: every key of its configs."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from diffsynth.attention.patterns import MOST_MERGED, AttentionMode, Backend, Entry, named, with_keyframes
from diffsynth.config import ClipPath, ModelRef, OptionalPath
from diffsynth.config.fields import ExistingPath
from diffsynth.config.keyed import FrameNumber, Keyed
from diffsynth.diffusion.schedule import SchedulerName
from diffsynth.runtime import PrecisionName
from diffsynth.sd.checkpoint_ref import PredictionName, SpacingName
from diffsynth.sd.memory import MemoryMode
from diffsynth.smoothers import SmootherConfig, SmootherName
from diffsynth.tasks.adapters import IpAdapterConfig, LoraConfig, TextualInversionConfig
from diffsynth.tasks.clip import ClipTaskConfig
from diffsynth.tasks.controlnets import ControlNetConfig
from diffsynth.tasks.pattern_field import PatternField
from diffsynth.tasks.prompts import Prompts, Wording


def _none_is_empty(value: Any) -> Any:
    """The seed says to leave the list empty, which its configs do with `[]`, `null` and `""`."""
    return () if value in (None, "") else value


class StylizeSettings(ClipTaskConfig):
    """The keys, with what they say together."""

    task: Literal["stylize"] = "stylize"
    """Stylize a clip."""
    model_id: ModelRef
    """The Stable Diffusion checkpoint, 1.x, 2.x or XL: a folder, a file (.safetensors, .ckpt), or an id on the hub."""
    model_settings: ModelRef | None = None
    """For a checkpoint of one file: a folder in diffusers' layout, or an id on the hub, to take the settings and the
    tokenizer from. Left out, its weights tell the settings, and CLIP's vocabulary is looked for."""
    revision: Annotated[str, Field(min_length=1)] | None = None
    """Of a checkpoint on the hub: a branch, a tag or a commit."""
    variant: Annotated[str, Field(pattern=r"^\w+$")] | None = None
    """Of weights that are there several times, those with this mark in their names, as `fp16`; left out, the plain ones
    where there are any."""
    prediction_type: PredictionName = "auto"
    """What the denoiser predicts; `auto` is what the checkpoint says of itself."""
    timestep_spacing: SpacingName = "auto"
    """How timesteps are laid out; `auto` is the checkpoint's way. Distilled checkpoints (Turbo, Lightning) want
    `trailing`."""
    prompt: Prompts
    """What the result shows and how it looks: a text, texts by frame that go over into each other
    (`{"0": "spring", "48": "winter"}`), or a list with one text a shot. `(red:1.3)`
    counts more; `{caption}` is what `<clip>.txt` says."""
    negative_prompt: Keyed[str] = ""
    """What the result must not show."""
    background_prompt: str | None = None
    """What is painted outside of the mask; left out, the clip stays there as it is."""
    clip_skip: Annotated[int, Field(ge=0, le=30)] = 0
    """How many of the text encoder's last layers are left out (what others call clip skip 2 is 1 here)."""
    controlnets: Annotated[tuple[ControlNetConfig, ...], Field(strict=False)] = ()
    """The ControlNets and T2I-Adapters. The lists `controlnet_model_id`, `controlnet_processor` and `controlnet_scale`
    say the same."""
    style_image: OptionalPath = None
    """The picture that a shuffle ControlNet takes its look from."""
    frames_reference: Annotated[tuple[ExistingPath, ...], Field(strict=False), BeforeValidator(_none_is_empty)] = ()
    """Pictures that frames may attend to, as `reference_0`, `reference_1` and so on."""
    combine_pattern: PatternField = (-10000, -1, 0, 1)
    """What each frame attends to: offsets to other frames (0 is itself; past an end is the end), `"first"` and
    references. Or by name: `"self"`, `"first+previous"`, `"sliding(k)"`, `"seed"` (the default), `"keys(n)"`."""
    mask: ClipPath | None = None
    """Where the clip is painted: white in one picture, or in a clip of masks. The rest is kept."""
    mask_feather: Annotated[int, Field(ge=0, le=512)] = 8
    """Over how many pixels the mask's borders fade."""
    keyframes: dict[FrameNumber, ExistingPath] = Field(default_factory=dict)
    """Frames that you painted yourself, `{"0": "painted.png"}`: they stay, and the others attend to them."""
    attention_mode: AttentionMode = "shared"
    """`shared`: each frame goes through the networks once a step and attends to its neighbours' tokens. `window`: each
    frame goes through together with its neighbours, which takes that many times as long."""
    attention_backend: Backend = "auto"
    """What computes attention. `auto` is torch's own."""
    chunk_size: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """How many frames go through the networks together; `auto` chooses by the free memory."""
    halo: Annotated[int, Field(ge=0, le=16)] = 2
    """How many rings of neighbours around a chunk go through with it, so that its borders don't show."""
    memory: MemoryMode = "auto"
    """`low` keeps each network on the device only while it computes: less memory, more time."""
    dtype: PrecisionName = "auto"
    """Precision of the networks; `auto` is half precision on CUDA and full elsewhere."""
    vae: ModelRef | None = None
    """Another autoencoder for the checkpoint: a folder, a file, or an id on the hub."""
    lora: Annotated[tuple[LoraConfig, ...], Field(strict=False)] = ()
    """LoRAs, each with its strength and the part of the steps in which it acts."""
    textual_inversion: Annotated[tuple[TextualInversionConfig, ...], Field(strict=False)] = ()
    """Learned words for the prompts."""
    ip_adapter: Annotated[tuple[IpAdapterConfig, ...], Field(strict=False)] = ()
    """Pictures as prompts, each by an IP-Adapter."""
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] = 20
    """Denoising steps."""
    guidance_scale: Keyed[Annotated[float, Field(ge=1, le=50)]] = 7.5
    """How much the prompt counts against the negative prompt; 1 leaves the negative prompt out."""
    scheduler: SchedulerName = "auto"
    """`seed_ddim` is right for plain checkpoints, `ddim` follows the checkpoint's own scheduler settings; `auto` takes
    the first where it fits, else the second. `dpmpp_2m` and `unipc` need fewer steps, `lcm` is for distilled ones."""
    seed_of_noise: Keyed[Annotated[int, Field(ge=0, lt=2**63)]] = 0
    """Seed of the initial noise. By frame, the noise turns from one seed's to the next one's."""
    noise: Literal["shared", "per_frame", "warped"] = "shared"
    """`shared` starts all frames from one noise, which keeps them alike; `per_frame` draws one for each; `warped` lets
    the noise ride on the clip's motion, so that texture moves with what it lies on."""
    feature_cache: Annotated[int, Field(ge=1, le=100)] = 1
    """Go through the whole networks in every n-th step only, and in the others through their outer blocks, with what
    the deeper ones said before: much faster, less exact."""
    token_merging: Annotated[float, Field(ge=0, le=MOST_MERGED)] = 0.0
    """The share of tokens that fine attention layers merge with those most like them: faster, less exact."""
    compile: bool = False
    """Compile the networks first (`torch.compile`): takes minutes, and pays in long runs."""
    skip_still: Annotated[float, Field(ge=0, le=255)] | None = None
    """Frames that differ from the last rendered one by at most so many grey levels, wherever one looks, show that one
    again. 0 spares exact copies only, as in animation on twos."""
    preview: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Render only so many frames, spread evenly over the clip, without smoothing: a quick look at the settings."""
    img2img_strength: Keyed[Annotated[float, Field(ge=0, le=1)]] = 1.0
    """1 renders from noise alone; less keeps more of the input's own look."""
    smoother: SmootherName | None = None
    """What takes the flicker out between steps; left out, nothing does."""
    smoother_config: SmootherConfig | None = None
    """Settings of the smoother."""
    smoother_interval: Annotated[int, Field(ge=1)] = 1
    """Smooth in the 1st step and in every n-th after it."""
    ignore_smoother_steps: Annotated[int, Field(ge=0)] = 0
    """Leave the last n steps unsmoothed."""
    post_smoother: SmootherName | None = None
    """What smooths the finished frames once more."""
    post_smoother_config: SmootherConfig | None = None
    """Settings of the post-smoother."""
    extra_deflickering_range: Annotated[int, Field(ge=0)] = 0
    """Smooth the finished frames with an EbsynthSmoother over this many neighbours on either side; 0 leaves it out."""

    def wording(self) -> Wording:
        """The prompts."""
        return Wording(self.prompt, self.negative_prompt, self.background_prompt)

    def shuffles(self) -> bool:
        return any(net.processor == "ControlnetImageProcesserShuffle" for net in self.controlnets)

    def pattern(self) -> tuple[Entry, ...]:
        """The pattern's entries, whatever it was called."""
        text = self.combine_pattern
        entries = (named(text) or ()) if isinstance(text, str) else tuple(text)
        return with_keyframes(entries, tuple(self.keyframes))
