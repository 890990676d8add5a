"""What a stylization is made of, and how it comes from a config."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from diffsynth.attention.cross_frame import attention
from diffsynth.attention.patterns import AttentionMode, Backend, Entry
from diffsynth.cache import digest
from diffsynth.diffusion.schedule import Schedule, SchedulerName, schedule
from diffsynth.processors.base import Processor
from diffsynth.processors.shuffle import ControlnetImageProcessorShuffleConfig
from diffsynth.runtime import Runtime, one_thread
from diffsynth.sd.checkpoint import Checkpoint, open_checkpoint
from diffsynth.sd.checkpoint_ref import CheckpointRef
from diffsynth.sd.control import Branch, ControlBranch
from diffsynth.sd.ip_adapter import layer_tokens
from diffsynth.sd.layout import XL, is_t2i_adapter, kind
from diffsynth.sd.load import channels_last
from diffsynth.sd.lora import Loras
from diffsynth.sd.memory import MemoryMode
from diffsynth.sd.network_files import Source, control_source, vae_source
from diffsynth.sd.networks import Networks
from diffsynth.sd.noise import NoiseKind
from diffsynth.sd.placement import Placement
from diffsynth.sd.predict import is_one
from diffsynth.sd.reuse import OuterBlocks
from diffsynth.sd.t2i import AdapterBranch
from diffsynth.sd.vae import Vae
from diffsynth.smoothers.base import Smoother
from diffsynth.tasks.adapters import IpAdapterConfig, LoraConfig, TextualInversionConfig
from diffsynth.tasks.controlnets import ControlNetConfig
from diffsynth.tasks.prompts import Wording
from diffsynth.tasks.speaker import Speaker
from diffsynth.tasks.stylize_adapters import read_adapters
from diffsynth.tracks import Track


@dataclass(frozen=True)
class Control:
    """A ControlNet or T2I-Adapter, and where its maps come from."""

    branch: Branch
    processor: Processor | None
    ready: str | None
    """The key of the input that holds ready-made maps."""
    of_style: bool
    """Whether it looks at the style image, and not at the frames."""


@dataclass(frozen=True)
class Model:
    """What was loaded from checkpoints."""

    networks: Networks
    outer: OuterBlocks | None
    """Their outer blocks, where some steps go through these alone."""
    interval: int
    vae: Vae
    speaker: Speaker
    wording: Wording
    schedule: Schedule
    vae_identity: str
    identities: Mapping[str, str]
    """What the weights hold, by the key of the config that names them."""
    remarks: tuple[str, ...] = ()
    """What of the adapters is without effect."""

    def sides(self, guidance: Track[float]) -> int:
        """How many prompts go through the networks for each frame."""
        one_sided = is_one(guidance) or self.networks.guidance_width is not None
        return (1 if one_sided else 2) + (self.wording.background is not None)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """All networks on the device, and on the host again for what comes between two clips."""
        parts = [self.networks.unet, self.vae.network]
        parts += [each for branch in self.networks.branches for each in branch.modules]
        with self.networks.placement.session(parts):
            yield


@dataclass(frozen=True)
class Look:
    """What decides the result beside the networks."""

    guidance: Track[float]
    mode: AttentionMode
    pattern: tuple[Entry, ...]
    halo: int
    chunk: int | None
    """None: as many frames as the memory allows."""
    seed: Track[int]
    noise: NoiseKind
    strength: Track[float]
    feather: int

    def among(self, shown: Sequence[int] | None) -> "Look":
        """For a rendering of only these frames."""
        return replace(
            self,
            guidance=self.guidance.among(shown),
            seed=self.seed.among(shown),
            strength=self.strength.among(shown),
        )


@dataclass(frozen=True)
class Deflicker:
    """What takes the flicker out, between steps and afterwards."""

    smoother: Smoother | None
    interval: int
    ignored: int
    post: Smoother | None


@dataclass(frozen=True)
class Speed:
    """What makes the networks faster."""

    merging: float
    compiled: bool
    interval: int
    """Every so many steps go through the whole networks."""


@dataclass(frozen=True)
class Wanted:
    """Which networks are to be loaded, and for what."""

    checkpoint: CheckpointRef
    vae: str | None
    controlnets: tuple[ControlNetConfig, ...]
    wording: Wording
    clip_skip: int
    scheduler: SchedulerName
    steps: int
    attention: Backend
    memory: MemoryMode
    speed: Speed
    loras: tuple[LoraConfig, ...] = ()
    embeddings: tuple[TextualInversionConfig, ...] = ()
    pictures: tuple[IpAdapterConfig, ...] = ()


def load_model(wanted: Wanted, runtime: Runtime) -> tuple[Model, tuple[Control, ...]]:
    """All networks, checked for each other before the first weight is read."""
    checkpoint = open_checkpoint(wanted.checkpoint)
    layout = checkpoint.layout
    nets = [net for net in wanted.controlnets if net.counts]
    variant = wanted.checkpoint.variant
    sources = [control_source(net.model_id, layout, variant) for net in nets]
    vae_file = None if wanted.vae is None else vae_source(wanted.vae, layout, variant)
    placement = Placement(runtime.torch_device(), runtime.torch_dtype(), wanted.memory)
    attend = attention(wanted.attention)
    settings = wanted.checkpoint.scheduler(layout.scheduler)
    steps = schedule(wanted.scheduler, settings, wanted.steps, checkpoint.scheduler_origin)
    adapters = read_adapters(wanted.loras, wanted.embeddings, wanted.pictures, layout)
    speaker = Speaker(checkpoint, adapters, placement, wanted.clip_skip)
    if not wanted.wording.captioned:
        # The encoders are gone before the other networks come.
        speaker.words(wanted.wording.texts(""))

    def branch(net: ControlNetConfig, source: Source) -> Branch:
        network = channels_last(source.load(placement.dtype))
        branch_of = AdapterBranch if is_t2i_adapter(source.settings) else ControlBranch
        return branch_of.of(network, placement, Track.of(net.scale), net.start, net.end)

    controls = tuple(
        Control(
            branch(net, source),
            None if net.processor_config is None else net.processor_config.build(runtime),
            f"controlnets[{wanted.controlnets.index(net)}].condition" if net.condition else None,
            isinstance(net.processor_config, ControlnetImageProcessorShuffleConfig),
        )
        for net, source in zip(nets, sources, strict=True)
    )
    unet = channels_last(checkpoint.unet(placement.dtype))
    loras = Loras.on(unet, adapters.loras)
    with one_thread():
        pictures = [(each.prompt, layer_tokens(each, unet, placement)) for each in adapters.pictures]
    branches = [each.branch for each in controls]
    networks = Networks.linked(unet, branches, attend, placement, wanted.speed.merging, loras, pictures)
    outer = OuterBlocks.of(networks) if wanted.speed.interval > 1 else None
    if wanted.speed.compiled:
        networks.compile()
    vae_identity = checkpoint.vae_identity if vae_file is None else vae_file.identity
    identities = {"model_id": checkpoint.identity, "vae": vae_identity, **adapters.identities}
    for net, source, control in zip(nets, sources, controls, strict=True):
        name = f"controlnets[{wanted.controlnets.index(net)}]"
        identities[f"{name}.model_id"] = source.identity
        if control.processor is not None:
            identities[f"{name}.processor"] = digest(control.processor.fingerprint)
    vae = _vae(checkpoint, vae_file, placement)
    vae_content = checkpoint.vae_content if vae_file is None else vae_file.content
    model = Model(
        networks,
        outer,
        wanted.speed.interval,
        vae,
        speaker,
        wanted.wording,
        steps,
        vae_content,
        identities,
        adapters.remarks(None if wanted.wording.captioned else wanted.wording.all()),
    )
    return model, controls


def _vae(checkpoint: Checkpoint, source: Source | None, placement: Placement) -> Vae:
    layout = checkpoint.layout
    settings = layout.vae if source is None else source.settings
    if kind(layout.unet) == XL:
        placement = replace(placement, dtype=Vae.precision(settings, placement.dtype))
    network = checkpoint.vae(placement.dtype) if source is None else source.load(placement.dtype)
    return Vae(channels_last(network), placement)
