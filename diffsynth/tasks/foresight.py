"""What a stylization will take of memory and disk, told from the settings of its networks; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffsynth.attention.patterns import Entry, shared_batch, window_batch
from diffsynth.sd import anatomy
from diffsynth.sd.folders import Settings, read_settings, weight_files
from diffsynth.sd.layout import LATENT_SCALE, floored
from diffsynth.sd.memory import KEPT_BYTES, LARGEST_CHUNK, Demand, demand
from diffsynth.sd.tensor_files import SAFE, read_header
from diffsynth.tasks.base import Prediction

USUAL: Settings = {"in_channels": 4, "block_out_channels": (320, 640)}
"""What a checkpoint that is not on this machine yet probably is like."""


@dataclass(frozen=True)
class Foresight:
    """Beside what reading and writing the clip take."""

    memory_bytes: int | None
    disk_bytes: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """What decides how much a stylization takes."""

    checkpoint: Path | None
    """None where it is on the hub."""
    settings: Path | None
    """The folder that a single file's settings are taken from."""
    nets: Sequence[Path | None]
    """Those that act."""
    pattern: tuple[Entry, ...]
    halo: int
    shared: bool
    chunk: int | None
    guided: bool
    """Whether the negative prompt counts."""
    regions: int
    """Prompts that are painted: the clip's, and that of the background where it has its own."""
    itemsize: int
    slots: int = 1
    """Of each frame's state in a solver."""
    features: bool = False
    """Whether deep features are kept."""
    warped: bool = False
    """Whether noise is kept."""
    kept: bool = False
    """Whether there is a mask."""
    still: bool = False
    """Whether still frames are left out."""

    def sides(self, unet: Settings) -> int:
        """How many prompts go through the networks for each frame."""
        return (self.guided and not unet.get("time_cond_proj_dim")) + self.regions


def foresee(load: Load, plain: Prediction) -> Foresight:
    """For a clip of as many frames as `plain` says, at its size."""
    height, width = floored(plain.height), floored(plain.width)
    frames = plain.frames or 0
    tokens = (height // LATENT_SCALE) * (width // LATENT_SCALE)
    found = None if load.checkpoint is None else _denoiser(load.checkpoint, load.settings)
    unet = USUAL if found is None else found
    latents = (2 * load.slots + load.warped) * frames * tokens * int(unet["in_channels"]) * 4
    features = load.features * frames * -(-height // 16) * -(-width // 16) * deep_width(unet) * load.sides(unet) * 4
    embedded = len(load.nets) * min(frames * tokens * int(unet["block_out_channels"][0]) * 4, KEPT_BYTES)
    # The pictures of a smoothed step lie twice on disk, those of the result and of its smoothing too; masks lie there,
    # and what they keep is put into another copy; frames that differ are copied, and so is the clip that they make.
    pictures = 4 + 2 * load.kept + 3 * load.still
    disk = latents + features + embedded + pictures * frames * height * width * 3
    if load.checkpoint is None or found is None:
        return Foresight(None, disk)
    needed = demand_of(load, load.checkpoint, unet, height, width)
    chunk = load.chunk or LARGEST_CHUNK
    smallest = needed.peak(rows(load, 1, plain.frames))
    wanted = needed.peak(rows(load, chunk, plain.frames))
    remark = f"About {_size(smallest)} of device memory are needed; {_size(wanted)} are used where there is as much."
    return Foresight(smallest, disk, (remark,))


def demand_of(load: Load, checkpoint: Path, unet: Settings, height: int, width: int) -> Demand:
    """Files hold half or full precision; on the device all of them are of the run's."""
    nets = [net for net in load.nets if net is not None]
    if checkpoint.is_file():
        whole = read_header(checkpoint)
        weights = whole.bytes_of(anatomy.UNET, anatomy.VAE) * load.itemsize // whole.itemsize
    else:
        weights = sum(_on_device(checkpoint / part, load.itemsize) for part in ("unet", "vae"))
    weights += sum(_on_device(folder, load.itemsize) for folder in nets)
    pattern, sides = len(load.pattern), load.sides(unet)
    return demand(unet, weights, height, width, pattern=pattern, sides=sides, itemsize=load.itemsize)


def deep_width(unet: Settings) -> int:
    """Channels of what a denoiser's deeper blocks hand to its last one."""
    widths = unet["block_out_channels"]
    return int(widths[1] if len(widths) > 1 else widths[0])


def _denoiser(checkpoint: Path, settings: Path | None) -> Settings | None:
    """Its settings, where they can be told without torch: of a pickled file they can't."""
    if checkpoint.is_dir():
        file = checkpoint / "unet" / "config.json"
        return read_settings(file) if file.is_file() else None
    if checkpoint.suffix != SAFE:
        return None
    whole = read_header(checkpoint)
    anatomy.text_prefixes(whole)  # says what the file is, where it is no checkpoint
    if settings is not None and (settings / "unet" / "config.json").is_file():
        return read_settings(settings / "unet" / "config.json")
    return anatomy.unet_settings(whole.shapes)


def rows(load: Load, chunk: int, frames: int | None) -> int:
    """Rows that go through the networks together for a chunk in the middle of the clip."""
    count = frames or 10_000
    if not load.shared:
        return len(window_batch(load.pattern, count // 2, count).rows)
    start = max((count - chunk) // 2, 0)
    return len(shared_batch(load.pattern, range(start, min(start + chunk, count)), count, load.halo).rows)


def _on_device(folder: Path, itemsize: int) -> int:
    """A network's weights in the run's precision. The first file's header tells which one it was saved in."""
    files = [folder] if folder.is_file() else weight_files(folder)
    saved = 4
    if files and files[0].suffix == ".safetensors":
        with files[0].open("rb") as opened:
            head = opened.read(1 << 16)
        saved = 2 if b'"F16"' in head or b'"BF16"' in head else 4
    return sum(each.stat().st_size for each in files) * itemsize // saved


def _size(count: int) -> str:
    return f"{count / 10**9:.1f} GB" if count >= 10**8 else f"{count / 10**6:.0f} MB"
