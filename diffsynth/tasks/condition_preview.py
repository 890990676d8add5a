"""What the ControlNets of a config will see: one picture, frames downwards, maps to the right."""

import tempfile
from pathlib import Path

from diffsynth.cache import ContentCache
from diffsynth.contact_sheet import Column, sheet
from diffsynth.errors import ConfigError
from diffsynth.frames import FrameStore
from diffsynth.images import read_image, write_png
from diffsynth.processors import ALIASES, ProcessorConfig
from diffsynth.processors.base import Frames, Processor, Stills
from diffsynth.processors.conditions import condition
from diffsynth.processors.shuffle import ControlnetImageProcessorShuffleConfig
from diffsynth.progress import Progress
from diffsynth.runtime import Runtime
from diffsynth.sized import Resampling, scaled
from diffsynth.tasks.ready_condition import ReadyCondition
from diffsynth.tasks.stylize import StylizeConfig
from diffsynth.video.clip import Clip
from diffsynth.video.ingest import ingest


def preview(config: StylizeConfig, runtime: Runtime, path: Path, progress: Progress) -> None:
    """Write the contact sheet of a config's clip to `path`.

    Where every processor works frame by frame only three frames are read. Others need the whole clip; their maps then
    lie in the cache already when the config is run.
    """
    if not config.controlnets:
        raise ConfigError(['"controlnets" is empty: there is nothing to preview.'])
    processors = [
        None if net.processor_config is None else net.processor_config.build(runtime) for net in config.controlnets
    ]
    ready = ReadyCondition(config.reader())
    config.prepare(runtime)
    clip = config.reader().open(config.main_clip())
    with tempfile.TemporaryDirectory(prefix="diffsynth-") as name:
        folder = Path(name)
        shown = None if any(each and each.looks_around for each in processors) else three_frames(clip)
        frames: Frames = _whole(clip, folder / "input", progress) if shown is None else shown
        rows = positions(len(frames))
        places = rows if shown is None else positions(clip.expected_count or len(frames))
        columns = [Column("frame", [frames[row] for row in rows])]
        for number, (net, processor) in enumerate(zip(config.controlnets, processors, strict=True)):
            if net.condition is not None:
                columns.append(
                    Column(net.condition.name, ready.beside(net.condition, frames.height, frames.width, places))
                )
            if net.processor_config is None or processor is None:
                continue
            source = _source(config, net.processor_config, frames)
            title = next(short for short, full in ALIASES.items() if full == net.processor_config.name())
            maps = _maps(processor, source, folder / str(number), title, progress)
            columns.append(Column(title, [maps[min(row, len(maps) - 1)] for row in rows]))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, sheet(columns))


def positions(count: int) -> list[int]:
    """First, middle and last of `count` frames, each once."""
    return sorted({0, count // 2, count - 1})


def three_frames(clip: Clip) -> Stills | None:
    """First, middle and last frame of a clip; None where only reading it would tell which these are."""
    count = clip.expected_count
    if count is None or not clip.info.frame_count_is_exact:
        return None
    found = [next(clip.frames(position), None) for position in positions(count)]
    frames = [each for each in found if each is not None]
    return Stills([each.rgb for each in frames]) if len(frames) == len(found) else None


def _source(config: StylizeConfig, setting: ProcessorConfig, frames: Frames) -> Frames:
    """What a processor reads: the frames, or the style image stretched to their size."""
    if not isinstance(setting, ControlnetImageProcessorShuffleConfig) or config.style_image is None:
        return frames
    style, _ = read_image(config.style_image)
    return Stills([scaled(style, frames.height, frames.width, Resampling.BICUBIC)])


def _whole(clip: Clip, folder: Path, progress: Progress) -> FrameStore:
    with progress.stage("read", clip.expected_count) as stage:
        return ingest(clip, folder, lambda count: stage.advance(count - stage.done))


def _maps(processor: Processor, source: Frames, folder: Path, title: str, progress: Progress) -> FrameStore:
    if not isinstance(source, FrameStore):
        return processor.process(source, folder, lambda count: None)  # three frames need no bar
    with progress.stage(title, processor.passes * len(source)) as stage:
        return condition(processor, source, ContentCache.of_user(), stage.advance)
