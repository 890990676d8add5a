"""How training goes: the key `"train"` of a config."""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel

Number = Annotated[float, Field(gt=0, strict=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class CourseSettings(ConfigModel):
    """Batches, steps, the optimizer, and what is kept on the way: the same for all that is trained."""

    global_batch: Annotated[int, Field(ge=1)] = 64
    """Examples that one step of the optimizer learns from, over all processes."""
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """Examples that a process holds at a time; gradients are summed up. Left out: its whole share of the batch."""
    steps: Annotated[int, Field(ge=1)] = 100_000
    """Steps of the optimizer."""
    lr: Number = 1e-4
    """Learning rate of AdamW."""
    warm_up: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises from nothing."""
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate goes on; `linear` and `cosine` end at nothing."""
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, strict=False)] = 0.0
    """Of AdamW."""
    clip: Number | None = 1.0
    """The most that the gradient's norm may be; null: as it is."""
    clip_from: Annotated[int, Field(ge=0)] = 0
    """The step from which on `clip` holds."""
    ema: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.9999
    """How slowly the averaged weights follow; they are what is drawn with."""
    ema_from: Annotated[int, Field(ge=0)] = 0
    """The step from which on they follow; before it they are the weights themselves."""
    ema_every: Annotated[int, Field(ge=1)] = 1
    """Steps between two times that they follow."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """What the network computes in; the weights are float32 always."""
    compile: bool = False
    """Compile the network with torch.compile."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The weights at the start, the order of the clips, and all noise come from it."""
    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    """Processes that read clips ahead; left out: 4, or as many as there are cores, and none for drawn sets."""
    log_every: Annotated[int, Field(ge=1)] = 10
    """Steps between entries of `metrics.jsonl` and TensorBoard, each with the mean loss since the one before; every
    checkpoint also comes with one."""
    tensorboard: bool = True
    """Also write TensorBoard's files, where the package is installed."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=1)] = 2
    """How many of the last checkpoints are kept."""


class TrainSettings(CourseSettings):
    """Batches, steps, the optimizer, and what is kept and shown on the way."""

    prob_focus_present: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.0
    """For `unet3d`: how often a clip's frames are learned each by itself, as pictures are."""
    gradient_checkpointing: bool = False
    """Compute activations anew on the way back instead of keeping them: less memory, a third more time."""
    sharding: Literal["none", "full"] = "none"
    """With several processes: `none` holds all weights in each (DDP), `full` spreads them (FSDP), as XL needs."""
    sample_every: Annotated[int, Field(ge=0)] = 0
    """Steps between grids of samples; 0: none."""
    sample_videos: Annotated[int, Field(ge=1, le=256)] = 10
    """Videos on a grid, one row each."""
    sample_steps: Annotated[int, Field(ge=1, le=1000)] = 40
    """Steps that they are drawn in."""
    sample_format: Literal["png", "gif"] = "png"
    """`png`: each video's frames in a row; `gif`: videos that play, in a square."""
    sample_scale: Annotated[float, Field(ge=0, strict=False)] = 1.5
    """Guidance that they are drawn with."""
