"""What a stylization is made of, and how it comes from a config."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from diffsynth.attention.cross_frame import attention
from diffsynth.attention.patterns import AttentionMode, Backend, Entry
from diffsynth.cache import digest
from diffsynth.diffusion.schedule import Schedule, SchedulerName, schedule
from diffsynth.processors.base import Processor
from diffsynth.processors.shuffle import ControlnetImageProcessorShuffleConfig
from diffsynth.runtime import Runtime, one_thread
from diffsynth.sd.checkpoint import Checkpoint, CheckpointRef, open_checkpoint
from diffsynth.sd.control import Branch, ControlBranch
from diffsynth.sd.ip_adapter import layer_tokens
from diffsynth.sd.layout import XL, is_t2i_adapter, kind
from diffsynth.sd.load import channels_last
from diffsynth.sd.lora import Loras
from diffsynth.sd.memory import MemoryMode
from diffsynth.sd.network_files import Source, control_source, vae_source
from diffsynth.sd.placement import Placement
from diffsynth.sd.predict import Networks
from diffsynth.sd.t2i import AdapterBranch
from diffsynth.sd.text import Words, encode_prompts
from diffsynth.sd.vae import Vae
from diffsynth.sd.xl import encode_pair
from diffsynth.smoothers.base import Smoother
from diffsynth.tasks.adapters import IpAdapterConfig, LoraConfig, TextualInversionConfig
from diffsynth.tasks.controlnets import ControlNetConfig
from diffsynth.tasks.stylize_adapters import Adapters, read_adapters


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
    vae: Vae
    words: Words
    schedule: Schedule
    vae_identity: str
    identities: Mapping[str, str]
    """What the weights hold, by the key of the config that names them."""
    remarks: tuple[str, ...] = ()
    """What of the adapters is without effect."""

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

    guidance: float
    mode: AttentionMode
    pattern: tuple[Entry, ...]
    halo: int
    chunk: int | None
    """None: as many frames as the memory allows."""
    seed: int
    shared_noise: bool
    strength: float


@dataclass(frozen=True)
class Deflicker:
    """What takes the flicker out, between steps and afterwards."""

    smoother: Smoother | None
    interval: int
    ignored: int
    post: Smoother | None


@dataclass(frozen=True)
class Wanted:
    """Which networks are to be loaded, and for what."""

    checkpoint: CheckpointRef
    vae: str | None
    controlnets: tuple[ControlNetConfig, ...]
    prompt: str
    negative_prompt: str
    scheduler: SchedulerName
    steps: int
    attention: Backend
    memory: MemoryMode
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
    words = _words(checkpoint, adapters, wanted.negative_prompt, wanted.prompt, placement)

    def branch(net: ControlNetConfig, source: Source) -> Branch:
        network = channels_last(source.load(placement.dtype))
        branch_of = AdapterBranch if is_t2i_adapter(source.settings) else ControlBranch
        return branch_of.of(network, placement, net.scale, net.start, net.end)

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
    networks = Networks.linked(unet, [each.branch for each in controls], attend, placement, loras, pictures)
    vae_identity = checkpoint.vae_identity if vae_file is None else vae_file.identity
    identities = {"model_id": checkpoint.identity, "vae": vae_identity, **adapters.identities}
    for net, source, control in zip(nets, sources, controls, strict=True):
        name = f"controlnets[{wanted.controlnets.index(net)}]"
        identities[f"{name}.model_id"] = source.identity
        if control.processor is not None:
            identities[f"{name}.processor"] = digest(control.processor.fingerprint)
    vae = _vae(checkpoint, vae_file, placement)
    vae_content = checkpoint.vae_content if vae_file is None else vae_file.content
    remarks = adapters.remarks((wanted.negative_prompt, wanted.prompt))
    model = Model(networks, vae, words, steps, vae_content, identities, remarks)
    return model, controls


def _vae(checkpoint: Checkpoint, source: Source | None, placement: Placement) -> Vae:
    layout = checkpoint.layout
    settings = layout.vae if source is None else source.settings
    if kind(layout.unet) == XL:
        placement = replace(placement, dtype=Vae.precision(settings, placement.dtype))
    network = checkpoint.vae(placement.dtype) if source is None else source.load(placement.dtype)
    return Vae(channels_last(network), placement)


def _words(checkpoint: Checkpoint, adapters: Adapters, negative: str, positive: str, placement: Placement) -> Words:
    """The prompts, encoded. The encoders are gone before the other networks come.

    By one thread: how many the run was begun with is not known yet, and more would round differently.
    """
    numbers = range(len(checkpoint.layout.text_encoders))
    encoders = [checkpoint.text_encoder(number, placement.dtype) for number in numbers]
    tokenizers = [checkpoint.tokenizer(number) for number in numbers]
    for number in numbers:
        adapters.prepare(tokenizers[number], encoders[number], number)
        encoders[number].to(placement.device)
    negative, positive = adapters.expanded(negative), adapters.expanded(positive)
    with one_thread():
        if len(encoders) == 1:
            return encode_prompts(tokenizers[0], encoders[0], negative, positive)
        return encode_pair(tokenizers, encoders, negative, positive, zero_empty=checkpoint.layout.zero_empty)
