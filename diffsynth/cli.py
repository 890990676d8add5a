"""The command line: reads the arguments and calls one function a command. Nothing here imports torch."""

import argparse
import io
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from diffsynth import __version__, commands
from diffsynth.config import Override
from diffsynth.errors import DiffSynthError
from diffsynth.runner import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USER_ERROR, Request
from diffsynth.runtime import DeviceName, Runtime
from diffsynth.smoothers import SmootherName
from diffsynth.tasks import TASKS


def main(arguments: Sequence[str] | None = None, program: str = "diffsynth") -> int:
    """Run one command; returns the exit code: 0 done, 1 some clips failed, 2 the user's to mend, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # "×" on an ASCII terminal, a file name in another encoding
    console, errors = Console(), Console(stderr=True)
    options = _parser(program).parse_args(arguments)
    command: Callable[[argparse.Namespace, Console], int] = options.command
    try:
        return command(options, console)
    except DiffSynthError as error:
        errors.print(str(error), highlight=False, markup=False, soft_wrap=True)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        errors.print("Stopped. What is finished is kept: the same command continues from there.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; there is nobody to tell
        return EXIT_DONE
    except OSError as error:
        if options.debug:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        errors.print(
            f"{where}{error.strerror or error}. (--debug shows where this came from.)", markup=False, soft_wrap=True
        )
        return EXIT_USER_ERROR


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="Stylize clips so that they hold still where the source holds still."
    )
    parser.add_argument("--version", action="version", version=f"diffsynth {__version__}")
    debug: dict[str, Any] = {"action": "store_true", "help": "show where an error of the system came from"}
    parser.add_argument("--debug", **debug)
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = subparsers.add_parser("run", help="run configs", description="Run one or more configs, on one or more clips.")
    run.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help="JSON config")
    _add_overrides(run)
    run.add_argument(
        "--device", choices=get_args(DeviceName), default="auto", help="where networks run (default: auto)"
    )
    run.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="stylize: render only N frames from all over the clip, unsmoothed; the result lies beside output_path",
    )
    again = run.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue a run of the same config (the default)")
    again.add_argument("--fresh", action="store_true", help="move an earlier run aside and start anew")
    run.add_argument("--quiet", action="store_true", help="print errors only")
    run.set_defaults(command=lambda options, console: commands.run(_request(options), Runtime(options.device), console))

    _add_direct_commands(subparsers)

    check = subparsers.add_parser(
        "check",
        help="validate a config and predict what it needs",
        description="Validate a config, show it resolved, and predict frames, disk and downloads. Loads no model.",
    )
    check.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help="JSON config")
    _add_overrides(check)
    check.add_argument("--json", action="store_true", help="print one JSON object a clip")
    check.set_defaults(
        command=lambda options, console: commands.check(_request(options), console, as_json=options.json)
    )

    listing = subparsers.add_parser("list", help="list tasks, processors, smoothers and engines")
    listing.set_defaults(command=lambda options, console: commands.list_parts(console))

    schema = subparsers.add_parser("schema", help="print the JSON Schema of configs, for editors")
    schema.add_argument("--markdown", action="store_true", help="print the page of all keys instead")
    schema.set_defaults(command=lambda options, console: commands.schema(as_markdown=options.markdown))

    new = subparsers.add_parser("new", help="write a config to start from")
    new.add_argument("task", choices=sorted(TASKS), metavar="TASK", help=f"one of: {', '.join(sorted(TASKS))}")
    new.add_argument("path", nargs="?", type=Path, help="where to write it (default: TASK.json)")
    new.set_defaults(command=lambda options, console: commands.new(options.task, options.path, console))

    preview = subparsers.add_parser(
        "preview-conditions",
        help="show what the ControlNets of a config will see",
        description="Write a contact sheet of a config's clip: first, middle and last frame, each beside the maps that "
        "its ControlNets will read. Loads the processors' networks, but no diffusion model.",
    )
    preview.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help="JSON config")
    _add_overrides(preview)
    preview.add_argument("--sheet", type=Path, metavar="PNG", help="where to write it (default: beside output_path)")
    preview.add_argument(
        "--device", choices=get_args(DeviceName), default="auto", help="where networks run (default: auto)"
    )
    preview.set_defaults(
        command=lambda options, console: commands.preview_conditions(
            _request(options), Runtime(options.device), console, options.sheet
        )
    )

    foreign = subparsers.add_parser(
        "import",
        help="convert a checkpoint or config of another system",
        description="Convert a file of another system: a checkpoint to safetensors with the model's config inside, a "
        "config to JSON. What kind of file it is, is told from what is in it; no code in it is run.",
    )
    foreign.add_argument("file", type=Path, metavar="FILE", help="the checkpoint or config")
    foreign.add_argument("--output", type=Path, metavar="PATH", help="the result (default: beside the file)")
    foreign.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="what the file doesn't tell: --set size=64"
    )
    foreign.set_defaults(
        command=lambda options, console: commands.import_foreign(
            options.file, options.output, _request(options).overrides, console
        )
    )

    info = subparsers.add_parser("info", help="say what a video holds")
    info.add_argument("video", help="a video, a folder of images, a glob of images, or one image")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(command=lambda options, console: commands.info(options.video, console, as_json=options.json))
    for each in subparsers.choices.values():
        each.add_argument("--debug", **debug, default=argparse.SUPPRESS)
    return parser


def _add_direct_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Tasks that need no config file."""
    smooth = subparsers.add_parser("smooth", help="take the flicker out of a styled clip")
    smooth.add_argument("guide", metavar="GUIDE", help="the clip that the styled one was made from")
    smooth.add_argument("style", metavar="STYLE", help="the styled clip that flickers")
    smooth.add_argument("--smoother", choices=get_args(SmootherName), default="FastBlendSmoother", metavar="NAME")
    smooth.set_defaults(
        command=lambda options, console: commands.smooth(
            options.guide, options.style, _request(options), Runtime(), console, options.smoother
        )
    )
    interpolate = subparsers.add_parser("interpolate", help="paint every frame of a clip from a few painted key frames")
    interpolate.add_argument("guide", metavar="GUIDE", help="the clip")
    interpolate.add_argument("keys", metavar="KEYS", help="a folder of key frames named by frame, or one key frame")
    interpolate.set_defaults(
        command=lambda options, console: commands.interpolate(
            options.guide, options.keys, _request(options), Runtime(), console
        )
    )
    measure = subparsers.add_parser("measure", help="measure how much clips flicker, and what they lost")
    measure.add_argument("source", metavar="SOURCE", help="the clip that the others were made from")
    measure.add_argument("clips", nargs="+", metavar="CLIP", help="clips; sharpness is relative to the first")
    measure.add_argument("--truth", metavar="CLIP", help="what the clips should look like")
    measure.set_defaults(
        command=lambda options, console: commands.measure(
            options.source, options.clips, options.truth, _request(options), Runtime(), console
        )
    )
    for parser in (smooth, interpolate, measure):
        parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the result")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="set a key: --set smoother_config.mode=balanced",
        )
        parser.add_argument("--fresh", action="store_true", help="move an earlier run aside and start anew")
        parser.add_argument("--quiet", action="store_true", help="print errors only")


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        nargs="+",
        action="extend",
        default=[],
        metavar="CLIP",
        help="clips in place of input_video (smooth: style_video); a quoted glob can be many",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder in place of output_path")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a key, dotted: --set video.codec=hevc"
    )


def _request(options: argparse.Namespace) -> Request:
    return Request(
        configs=tuple(getattr(options, "configs", ())),
        inputs=tuple(getattr(options, "input", ())),
        output=options.output,
        overrides=tuple(Override.parse(each) for each in options.set),
        fresh=getattr(options, "fresh", False),
        quiet=getattr(options, "quiet", False),
        preview=getattr(options, "preview", None),
    )
