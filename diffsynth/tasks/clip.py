"""What every task on a clip shares: which frames of which clip, at what size, and how the result is written."""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel, Contradiction
from diffsynth.disk import json_text
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime
from diffsynth.tasks.base import Prediction, Runnable
from diffsynth.tasks.sampled_clip import ClipSource, SampledClip
from diffsynth.video.geometry import target_size
from diffsynth.video.options import CODEC_SUFFIXES, Geometry, Selection, VideoOptions

if TYPE_CHECKING:
    from diffsynth.frames import FrameStore
    from diffsynth.video.clip import Clip

TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", re.ASCII)
FRAME = re.compile(r"\d+f", re.ASCII)
LAST_SECOND = 10**9
LONGEST_MOMENT = 20
MOST_FRAMES = 10**9


def _moment(value: Any) -> str:
    """Checked text of a moment: `"12f"` for a frame, else seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LAST_SECOND:
        text = repr(abs(value))
        return text if "e" not in text else f"{value:.9f}"  # 1e-05 is a number of JSON, and no time
    if isinstance(value, str) and len(value) <= LONGEST_MOMENT and (FRAME.fullmatch(value) or TIME.fullmatch(value)):
        return str(value)
    raise PydanticCustomError(
        "path", 'must be seconds (2.5), a time ("1:02.5"), or a frame ("48f"), and not negative', {}
    )


def frame_or_seconds(moment: str) -> int | float:
    """The moment as the media layer takes it: an int is a frame, a float is seconds."""
    if moment.endswith("f"):
        return int(moment[:-1])
    match = TIME.fullmatch(moment)
    if match is None:
        raise ValueError(f"not a moment: {moment}")
    hours, minutes, seconds = match.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


Moment = Annotated[
    str,
    BeforeValidator(_moment),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^(\d+f|[\d:.]+)$"}]}),
]


class VideoConfig(ConfigModel):
    """How the video is written."""

    WORST_QUALITY: ClassVar[Mapping[str, int]] = {"h264": 51, "hevc": 51, "vp9": 63}

    codec: Literal["h264", "hevc", "vp9", "prores", "ffv1", "gif", "webp"] = "h264"
    """The codec; it decides the container. `vp9`, `prores`, `ffv1`, `gif` and `webp` keep transparency."""
    quality: Annotated[int, Field(ge=0, le=63)] | None = None
    """Lower is better and larger: the CRF of h264 (0-51), hevc (0-51) and vp9 (0-63). Left out: visually lossless."""
    audio: bool = True
    """Keep the source's sound for the rendered range."""


class FramesTaskConfig(Runnable):
    """A task that works on the selected frames of a clip, or of several that go together, and writes one."""

    frame_height: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Height of the frames; left out, the source's, or what the width asks for."""
    frame_width: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Width of the frames; left out, the source's, or what the height asks for."""
    resize_mode: Literal["crop", "fit", "stretch"] = "crop"
    """`crop` cuts the centre out, `fit` keeps all within that size, `stretch` changes the aspect."""
    frame_interval: Annotated[int, Field(ge=1, le=MOST_FRAMES)] = 1
    """Use every n-th frame; the frame rate falls with it."""
    frame_maximum_count: Annotated[int, Field(ge=1, le=MOST_FRAMES)] | None = None
    """The most frames to use."""
    start: Moment | None = None
    """Where to begin: seconds, a time like `"1:02.5"`, or a frame like `"48f"`."""
    end: Moment | None = None
    """Where to stop, not included; written like `start`."""
    image_rate: Annotated[float, Field(gt=0, le=1000)] = 25.0
    """Frames a second of a clip that is made of images."""
    video: VideoConfig = VideoConfig()
    """How the video is written."""
    save_frames: bool = True
    """Also write every frame as `frames/00000.png` and so on."""

    @abstractmethod
    def main_clip(self) -> Path:
        """The clip that decides how many frames there are, how large, and how fast."""

    def contradictions(self) -> Iterator[Contradiction]:
        start, end = self._moment("start"), self._moment("end")
        if start is not None and end is not None and type(start) is type(end) and end <= start:
            yield Contradiction(("start", "end"), f'"end" ({self.end}) must come after "start" ({self.start}).')
        if end == 0:
            yield Contradiction(("end",), '"end" is 0, which leaves no frame. Give a later moment, or leave it out.')
        quality, worst = self.video.quality, self.video.WORST_QUALITY.get(self.video.codec)
        if quality is not None and (worst is None or quality > worst):
            use = f"it is at most {worst} there" if worst else f"only {', '.join(self.video.WORST_QUALITY)} take it"
            yield Contradiction(
                ("video",),
                f'"video.quality" is {quality}, but "video.codec" is "{self.video.codec}": {use}. Change one of them.',
            )

    def expected(self) -> Prediction | None:
        """What is known of a clip that isn't there yet; None: it is there."""
        return None

    def predict(self) -> Prediction:
        drawn = self.expected()
        if drawn is not None:
            return drawn
        from diffsynth.video.clip import open_clip

        clip = open_clip(self.main_clip(), self.selection(), self.geometry(), image_fps=Fraction(self.image_rate))
        frames = clip.expected_count
        remarks = (
            clip.info.notes
            if clip.info.frame_count_is_exact
            else (*clip.info.notes, "The number of frames is an estimate.")
        )
        if frames == 0:
            remarks = (
                *remarks,
                'No frame lies between "start" and "end" of this clip: a run would stop with an error.',
            )
        # A lossless frame takes about half its raw size; the pictures and the video stand beside the store.
        disk = None if frames is None else frames * clip.height * clip.width * 3 * (2 if self.save_frames else 1)
        return Prediction(frames, clip.height, clip.width, disk, remarks=remarks)

    def selection(self) -> Selection:
        """Which frames are used."""
        return Selection(self.frame_interval, self.frame_maximum_count, self._moment("start"), self._moment("end"))

    def geometry(self) -> Geometry:
        """The size of the frames."""
        return Geometry(self.frame_height, self.frame_width, self.resize_mode)

    def reader(self) -> "ClipReader":
        return ClipReader(self.selection(), self.geometry(), Fraction(self.image_rate))

    def writer(self) -> "ClipWriter":
        video = self.video
        return ClipWriter(VideoOptions(video.codec, video.quality, audio=video.audio), save_frames=self.save_frames)

    def _moment(self, name: Literal["start", "end"]) -> int | float | None:
        value: str | None = getattr(self, name)
        return None if value is None else frame_or_seconds(value)


class ClipTaskConfig(FramesTaskConfig):
    """A task that reads one clip and writes one."""

    input_video: ClipSource
    """The clip: a video, a folder of numbered images, a glob of images, one image, or one that a trained model draws:
    `{"sample": "runs/digits", "seed": 3}`."""

    def inputs(self) -> dict[str, Path]:
        return {"input_video": self.main_clip()}

    def main_clip(self) -> Path:
        return self.input_video.place() if isinstance(self.input_video, SampledClip) else self.input_video

    def prepare(self, runtime: Runtime) -> None:
        if isinstance(self.input_video, SampledClip):
            self.input_video.make(runtime)

    def expected(self) -> Prediction | None:
        if not isinstance(self.input_video, SampledClip) or self.main_clip().exists():
            return None
        self.input_video.wish()
        model = self.input_video.model()
        height, width = target_size(*model.size, self.geometry())
        frames = self.selection().count_of(model.frames)
        return Prediction(frames, height, width, frames * height * width * 6, remarks=("The clip is drawn first.",))


@dataclass(frozen=True)
class ClipReader:
    """The first stage: the selected frames of a clip, at their size, on disk."""

    selection: Selection
    geometry: Geometry
    image_rate: Fraction

    def open(self, source: Path) -> "Clip":
        from diffsynth.video.clip import open_clip

        return open_clip(source, self.selection, self.geometry, image_fps=self.image_rate)

    def read(
        self, source: Path, run: RunFolder, progress: Progress, *, name: str = "input", clip: "Clip | None" = None
    ) -> "tuple[Clip, FrameStore]":
        """The main clip, whose facts go into the run's record. `name` tells the clips of one run apart."""
        clip = clip or self.open(source)
        store = self.store(clip, run, progress, name)
        run.note(
            frames=len(store),
            height=store.height,
            width=store.width,
            frame_rate=str(clip.fps),
            damage=clip.damage.report(clip.time_base),
        )
        return clip, store

    def store(self, clip: "Clip", run: RunFolder, progress: Progress, name: str) -> "FrameStore":
        """Continues an unfinished store; a finished one is taken as it is."""
        from diffsynth.frame_files import written_count
        from diffsynth.video.ingest import ingest

        source = clip.info.path
        for note in clip.info.notes:
            progress.note(f"{source}: {note}")
        folder = run.work(name)
        begun = written_count(folder)
        with (
            run.timed("read"),
            progress.stage(f"read {name}" if name != "input" else "read", clip.expected_count, begun) as stage,
        ):
            store = ingest(clip, folder, lambda count: stage.advance(count - stage.done))
        damage = clip.damage.report(clip.time_base)
        if damage:
            progress.note(f"{source}: {damage}.")
        return store


@dataclass(frozen=True)
class ClipWriter:
    """The last stage: finished frames as a video with the source's sound, and as pictures where they are wanted."""

    options: VideoOptions
    save_frames: bool

    def write(self, clip: "Clip", store: "FrameStore", run: RunFolder, progress: Progress) -> list[Path]:
        """Returns the files made."""
        from diffsynth.video.ingest import write_frames
        from diffsynth.video.write import write_video

        made: list[Path] = []
        if self.save_frames:
            folder = run.path / "frames"
            with run.timed("frames"), progress.stage("frames", len(store)) as stage:
                write_frames(store, folder, lambda count: stage.advance(count - stage.done))
            made.append(folder)
        timing = store.timing
        sound = clip.audio_range(timing) if timing is not None and self.options.audio else None
        path = run.path / f"video_output{CODEC_SUFFIXES[self.options.codec][0]}"
        with run.timed("video"), progress.stage("video", len(store)) as stage:
            written = write_video(
                path,
                store,  # and not an iterator: a GIF reads it twice
                fps=clip.fps,
                timing=timing,
                alphas=store.alphas() if store.has_alpha else None,
                options=self.options,
                audio=sound,
                settings=json_text(run.settings),
                progress=lambda count: stage.advance(count - stage.done),
            )
        for note in written.notes:
            progress.note(f"{path.name}: {note}")
        run.note(audio=written.audio, duration=float(written.duration), notes=list(written.notes))
        return [path, *made]
