"""Real media for tests, made and measured by the `ffmpeg` program: another build than the libraries under test."""

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
BEEP_EVERY = 0.5
"""Seconds between the beeps of a clip's sound; the first one is at 0."""


def ffmpeg(*arguments: str) -> bytes:
    """Run ffmpeg quietly and return what it wrote to its output."""
    command = [FFMPEG, "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


@dataclass(frozen=True)
class Recipe:
    """A small clip: pictures from `testsrc2`, sound of short beeps."""

    suffix: str
    video: tuple[str, ...]
    audio: tuple[str, ...] = ()
    rate: str = "25"
    frames: int = 24
    size: str = "96x80"
    filters: str = ""
    source: str = "testsrc2"

    @property
    def seconds(self) -> Fraction:
        return self.frames / Fraction(self.rate)


X264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac", "-b:a", "96k")

CODECS = {
    "h264-mp4": Recipe(".mp4", X264, AAC),
    "h264-ntsc-mov": Recipe(".mov", X264, ("-c:a", "pcm_s16le"), rate="30000/1001", frames=31),
    "h264-10bit-mkv": Recipe(".mkv", ("-c:v", "libx264", "-pix_fmt", "yuv420p10le"), ("-c:a", "flac"), rate="24"),
    "h264-avi": Recipe(".avi", X264, ("-c:a", "libmp3lame")),
    "hevc-mp4": Recipe(".mp4", ("-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1"), AAC, rate="50"),
    "vp9-webm": Recipe(".webm", ("-c:v", "libvpx-vp9", "-cpu-used", "8"), ("-c:a", "libopus"), rate="30"),
    "av1-mkv": Recipe(".mkv", ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"), ("-c:a", "libopus")),
    "prores-mov": Recipe(".mov", ("-c:v", "prores_ks"), ("-c:a", "pcm_s16le")),
    "mpeg4-avi": Recipe(".avi", ("-c:v", "mpeg4", "-bf", "2"), ("-c:a", "libmp3lame")),
    "ffv1-mkv": Recipe(".mkv", ("-c:v", "ffv1"), ("-c:a", "pcm_s16le"), rate="30000/1001"),
    "gif": Recipe(".gif", (), rate="10", frames=12),
}


class Media:
    """Makes clips in a folder; each recipe is made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def clip(self, name: str, recipe: Recipe) -> Path:
        path = self.folder / f"{name}{recipe.suffix}"
        if not path.exists():
            inputs = ["-f", "lavfi", "-i", f"{recipe.source}=size={recipe.size}:rate={recipe.rate}"]
            seconds = float(recipe.seconds)
            if recipe.audio:
                beep = f"if(lt(mod(t,{BEEP_EVERY}),0.03),0.8*sin(2*PI*1000*t),0)"
                inputs += ["-f", "lavfi", "-i", f"aevalsrc='{beep}':s=48000:d={seconds}"]
            filters = ["-vf", recipe.filters] if recipe.filters else []
            ffmpeg(*inputs, *filters, "-frames:v", str(recipe.frames), *recipe.video, *recipe.audio, str(path))
        return path

    def codec(self, name: str) -> Path:
        return self.clip(name, CODECS[name])

    def variable_rate(self, suffix: str = ".mp4") -> Path:
        """11 of 25 frames, shown at 0, 3, 6, 7, 9, 12, 14, … twenty-fifths of a second; the last one for one more."""
        path = self.folder / f"variable{suffix}"
        if not path.exists():
            source = "testsrc2=size=96x80:rate=25:duration=1,select='not(mod(n\\,3))+not(mod(n\\,7))'"
            beep = f"if(lt(mod(t,{BEEP_EVERY}),0.03),0.8*sin(2*PI*1000*t),0)"
            sound = f"aevalsrc='{beep}':s=48000:d=1"
            ffmpeg(
                *("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", sound),
                *("-fps_mode", "vfr", *X264, *(("-c:a", "libopus") if suffix == ".mkv" else AAC), str(path)),
            )
        return path

    def rotated(self, degrees: int) -> Path:
        """A 96x80 clip whose file says that it is to be turned by `degrees` counter-clockwise."""
        path = self.folder / f"rotated{degrees}.mp4"
        if not path.exists():
            ffmpeg("-display_rotation", str(degrees), "-i", str(self.codec("h264-mp4")), "-c", "copy", str(path))
        return path

    def with_alpha(self, codec: str) -> Path:
        """A clip whose alpha rises from 0 at the left to 255 at the right."""
        suffix, arguments = {
            "vp9": (".webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-crf", "10", "-b:v", "0")),
            "prores": (".mov", ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le")),
            "ffv1": (".mkv", ("-c:v", "ffv1", "-pix_fmt", "bgra")),
        }[codec]
        path = self.folder / f"alpha-{codec}{suffix}"
        if not path.exists():
            source = "testsrc2=size=96x80:rate=25:duration=0.32,format=rgba"
            ramp = "geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='255*X/(W-1)'"
            ffmpeg("-f", "lavfi", "-i", f"{source},{ramp}", *arguments, str(path))
        return path


@dataclass(frozen=True)
class Shown:
    """A frame as ffmpeg lists it: when and how long it is shown, in seconds."""

    begin: Fraction
    duration: Fraction


def shown_frames(path: Path) -> list[Shown]:
    """Every frame that ffmpeg decodes from a file, none repeated or left out."""
    listing = ffmpeg(
        *(
            "-i",
            str(path),
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "demux",
            "-f",
            "framecrc",
            "-",
        )
    ).decode()
    base, frames = Fraction(1), []
    for line in listing.splitlines():
        if line.startswith("#tb 0:"):
            base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            _, _, pts, duration, *_ = (part.strip() for part in line.split(","))
            frames.append(Shown(int(pts) * base, int(duration) * base))
    return frames


def pixels(path: Path, height: int, width: int, *filters: str) -> NDArray[np.uint8]:
    """All frames of a file as (T, H, W, 3) RGB by ffmpeg, with exact rounding."""
    exact = "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    chain = ",".join([*filters, exact, "format=rgb24"])
    raw = ffmpeg(*("-i", str(path), "-vf", chain, "-fps_mode", "passthrough", "-f", "rawvideo", "-"))
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def sound(path: Path) -> NDArray[np.float32]:
    """The first audio stream as mono samples at 48 kHz, silence filled in before a late start."""
    filters = "aresample=48000:async=1:first_pts=0"
    raw = ffmpeg("-i", str(path), "-map", "0:a:0", "-ac", "1", "-af", filters, "-f", "f32le", "-")
    return np.frombuffer(raw, np.float32)


def beeps(path: Path) -> list[float]:
    """The seconds at which a file's beeps begin."""
    loud = np.abs(sound(path)) > 0.25
    starts = np.flatnonzero(loud & ~np.concatenate([[False], loud[:-1]]))
    kept: list[float] = []
    for start in starts / 48000:
        if not kept or start - kept[-1] > BEEP_EVERY / 2:
            kept.append(float(start))
    return kept
