"""The stylization of a clip with the networks loaded: from frames to conditions, to latents, and back to frames."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from diffsynth.arrays import ArrayStore, ArrayWriter
from diffsynth.cache import ContentCache, frames_digest
from diffsynth.diffusion.chunks import ChunkPlan
from diffsynth.diffusion.denoise import FIRST, denoise, has_begun, reader
from diffsynth.diffusion.schedule import Schedule
from diffsynth.diffusion.solvers import Solver, begin, solver
from diffsynth.errors import RunFolderError
from diffsynth.frames import FrameStore, Image, is_complete
from diffsynth.images import read_image
from diffsynth.processors.base import Frames, Stills
from diffsynth.processors.conditions import condition as cached_condition
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime, out_of_memory_told
from diffsynth.sd.control import ClipMaps, Condition, embed_clip
from diffsynth.sd.layout import LATENT_SCALE, floored
from diffsynth.sd.memory import demand
from diffsynth.sd.predict import Neighbourhood, Noise, Predictor
from diffsynth.sd.smoothing import SmoothingEdit, decode_into
from diffsynth.sized import Resampling, Sized, scaled, sized_store
from diffsynth.smoothers.base import smooth_into
from diffsynth.tasks.clip import ClipReader, ClipWriter
from diffsynth.tasks.previews import preview_sheet, preview_store
from diffsynth.tasks.ready_condition import ReadyCondition
from diffsynth.tasks.stylize_parts import Control, Deflicker, Look, Model

WRITTEN_TOGETHER = 16
LARGEST_WINDOW_CHUNK = 8
"""A window goes through alone whatever the chunk; chunks only say how often its frames are committed."""


@dataclass(frozen=True)
class Stylize:
    """The main job."""

    reader: ClipReader
    writer: ClipWriter
    model: Model
    controls: tuple[Control, ...]
    look: Look
    deflicker: Deflicker
    preview: int | None
    runtime: Runtime

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        self._settle(run)
        for remark in self.model.remarks:
            progress.note(remark)
        with out_of_memory_told():
            if self.preview is not None:
                return self._previewed(self.preview, inputs, run, progress)
            clip, asked = self.reader.read(inputs["input_video"], run, progress)
            source = sized_store(asked, floored(asked.height), floored(asked.width), run.work("sized"))
            rendered = self._rendered(inputs, asked, source, run, progress)
            return self.writer.write(clip, self._post_smoothed(source, rendered, run, progress), run, progress)

    def _previewed(self, count: int, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        """A few frames of the clip, by themselves."""
        asked = preview_store(self.reader.open(inputs["input_video"]), count, run.work("input"))
        source = sized_store(asked, floored(asked.height), floored(asked.width), run.work("sized"))
        return preview_sheet(source, self._rendered(inputs, asked, source, run, progress), run.path)

    def _rendered(
        self, inputs: Mapping[str, Path], asked: FrameStore, source: FrameStore, run: RunFolder, progress: Progress
    ) -> FrameStore:
        """The clip as the networks see it. `source` is `asked` at the size of the pictures."""
        folder = run.work("rendered")
        if is_complete(folder):
            return FrameStore(folder)
        with run.timed("conditions"):
            maps = [self._maps(number, inputs, asked, run, progress) for number in range(len(self.controls))]
        with self.model.at_work():
            conditions = [
                embed_clip(control.branch, each, run.work(f"embedded-{number}"), progress)
                for number, (control, each) in enumerate(zip(self.controls, maps, strict=True))
            ]
            sides = source.height, source.width
            references = [scaled(each, *sides, Resampling.LANCZOS) for each in _references(inputs, asked)]
            with run.timed("denoise"):
                latents = self._denoised(source, references, conditions, run, progress)
            with run.timed("decode"):
                rendered = self._decoded(latents, source, folder, progress)
        for name in ("latents", *(f"embedded-{number}" for number in range(len(self.controls)))):
            shutil.rmtree(run.work(name), ignore_errors=True)
        return rendered

    def _maps(
        self, number: int, inputs: Mapping[str, Path], asked: FrameStore, run: RunFolder, progress: Progress
    ) -> ClipMaps:
        """The maps of one ControlNet, at the size of the pictures."""
        control = self.controls[number]
        name = f"condition {number}"
        height, width = floored(asked.height), floored(asked.width)

        def sized(frames: Frames) -> Frames:
            return Sized(frames, height, width)

        folder = run.work(f"condition-{number}")
        references = [Stills([each]) for each in _references(inputs, asked)]
        if control.processor is None:
            assert control.ready is not None
            ready = ReadyCondition(self.reader, self.preview).read(
                inputs[control.ready], asked, f"condition-{number}", run, progress
            )
            # Only the inpaint processor's transparency is a hole; that of a ready-made map says nothing.
            return ClipMaps(Sized(ready, height, width, opaque=True), [sized(each) for each in references])
        processor = control.processor
        with progress.stage(name, processor.passes * (1 if control.of_style else len(asked))) as stage:
            if control.of_style:
                picture = scaled(read_image(inputs["style_image"])[0], asked.height, asked.width, Resampling.BICUBIC)
                found = processor.process(Stills([picture]), folder, stage.advance)
            else:
                found = cached_condition(processor, asked, ContentCache.of_user(), stage.advance)
        of_references = [
            processor.process(each, folder / f"reference-{k}", lambda count: None) for k, each in enumerate(references)
        ]
        return ClipMaps(sized(found), [sized(each) for each in of_references])

    def _denoised(
        self,
        source: FrameStore,
        references: Sequence[Image],
        conditions: Sequence[Condition],
        run: RunFolder,
        progress: Progress,
    ) -> ArrayStore:
        model, look = self.model, self.look
        shape = (model.vae.channels, source.height // LATENT_SCALE, source.width // LATENT_SCALE)
        schedule = model.schedule if look.strength == 1 else model.schedule.cut(look.strength)
        if not schedule.steps:
            progress.note(
                f'"img2img_strength" {look.strength} of {len(model.schedule.steps)} steps is less than one: the frames '
                "only go through the autoencoder."
            )
        noise = Noise(shape, look.seed, look.shared_noise)
        neighbourhood = Neighbourhood(look.mode, look.pattern, look.halo, len(source))
        predictor = Predictor(
            model.networks,
            tuple(conditions),
            model.words,
            look.guidance,
            schedule,
            neighbourhood,
            noise,
            model.vae.encode(references) if references else None,
        )
        folder = run.work("latents")
        moved = solver(schedule.name, noise.of_step)
        self._begin(folder, source, schedule, moved, noise, progress)
        plan, edit = self._plan(source, run), self._edit(source, progress)
        return denoise(folder, schedule, moved, predictor, plan, progress, edit)

    def _edit(self, source: FrameStore, progress: Progress) -> SmoothingEdit | None:
        deflicker = self.deflicker
        if deflicker.smoother is None or self.preview is not None:
            return None
        prepared = deflicker.smoother.prepare(source, progress)
        return SmoothingEdit(self.model.vae, prepared, source, deflicker.interval, deflicker.ignored, progress)

    def _decoded(self, latents: ArrayStore, source: FrameStore, folder: Path, progress: Progress) -> FrameStore:
        read = reader(latents)

        def clean(start: int) -> Iterator[tuple[range, torch.Tensor]]:
            with progress.stage("decode", len(source), start) as stage:
                for position in range(start, len(source)):
                    yield range(position, position + 1), read([position])
                    stage.advance()

        return decode_into(self.model.vae, clean, source, folder)

    def _plan(self, source: FrameStore, run: RunFolder) -> ChunkPlan:
        """As recorded by an earlier session of this run, else a new one."""

        def record(bounds: list[int]) -> None:
            run.note(plan={**run.record["plan"], "chunks": list(bounds)})

        if "chunks" in run.record["plan"]:
            return ChunkPlan(list(run.record["plan"]["chunks"]), record)
        return ChunkPlan.even(len(source), self._chunk_size(source), record)

    def _settle(self, run: RunFolder) -> None:
        """Where and how precisely is computed, and by how many threads: as by an earlier session of this run.

        Sums over another number of threads round differently, and other weights under the same name paint otherwise.
        """
        models = dict(self.model.identities)
        known = run.record.get("models", models)
        if other := sorted(key for key in models.keys() | known.keys() if models.get(key) != known.get(key)):
            raise RunFolderError(
                f"{run.path}: this run was begun with other weights or settings under {', '.join(other)}; its frames "
                "would not match. Put the earlier ones back, or start anew with --fresh."
            )
        placement = self.model.networks.placement
        now = {"device": placement.device.type, "dtype": str(placement.dtype).removeprefix("torch.")}
        earlier = run.record.get("plan", {})
        if differing := [key for key in now if key in earlier and earlier[key] != now[key]]:
            key = differing[0]
            raise RunFolderError(
                f"{run.path}: this run was begun with {key} {earlier[key]}, and would go on with {now[key]}; its "
                f'frames would not match. Choose that {key} again ("--device", "dtype"), or start anew with --fresh.'
            )

        plan = {"threads": self.runtime.thread_count(), **earlier, **now}
        run.note(plan=plan, models=models)
        torch.set_num_threads(plan["threads"])

    def _chunk_size(self, source: FrameStore) -> int:
        look = self.look
        if look.chunk is not None:
            return look.chunk
        if look.mode == "window":
            return LARGEST_WINDOW_CHUNK
        around = Neighbourhood(look.mode, look.pattern, look.halo, 10_000).around()
        needed = demand(
            self.model.networks.unet.config,
            0,
            source.height,
            source.width,
            pattern=len(look.pattern),
            sides=1 if look.guidance == 1 or self.model.networks.guidance_width else 2,
            itemsize=self.model.networks.placement.dtype.itemsize,
        )
        return needed.chunk(self.runtime.free_memory(), around)

    def _begin(
        self, folder: Path, source: FrameStore, schedule: Schedule, moved: Solver, noise: Noise, progress: Progress
    ) -> None:
        """The first states: noise, or the clip's own latents with as much noise as the first step expects."""
        if has_begun(folder, len(source)):
            return
        encoded = None if self.look.strength == 1 else self._encoded(source, progress)
        with ArrayWriter(folder / FIRST, (moved.slots, *noise.shape)) as writer:
            while writer.count < len(source):
                positions = range(writer.count, min(writer.count + WRITTEN_TOGETHER, len(source)))
                latents = torch.stack([noise.of(position) for position in positions])
                if encoded is not None:
                    clean = torch.from_numpy(encoded.read(positions))
                    latents = schedule.noised(clean, latents, schedule.steps[0]) if schedule.steps else clean
                writer.append(begin(moved, latents).numpy())

    def _encoded(self, source: FrameStore, progress: Progress) -> ArrayStore:
        """The clip's latents, by way of the cache: another prompt doesn't encode it again."""
        vae = self.model.vae
        placement = vae.placement
        shape = (vae.channels, source.height // LATENT_SCALE, source.width // LATENT_SCALE)
        key = {
            "latents": frames_digest(source),
            "vae": self.model.vae_identity,
            "dtype": str(placement.dtype),
            "device": placement.device.type,
            "threads": torch.get_num_threads(),
        }

        def make(folder: Path) -> ArrayStore:
            with (
                ArrayWriter(folder / "latents", shape) as writer,
                progress.stage("encode", len(source), writer.count) as stage,
            ):
                while writer.count < len(source):
                    writer.append(vae.encode([source[writer.count]]).numpy())
                    stage.advance()
            return ArrayStore(folder / "latents")

        return ContentCache.of_user().get(key, make)

    def _post_smoothed(
        self, source: FrameStore, rendered: FrameStore, run: RunFolder, progress: Progress
    ) -> FrameStore:
        if self.deflicker.post is None or self.preview is not None:
            return rendered
        with run.timed("post_smooth"):
            prepared = self.deflicker.post.prepare(source, progress)
            return smooth_into(prepared, rendered, source, run.work("finished"), run.work("tables"), progress)


def _references(inputs: Mapping[str, Path], like: FrameStore) -> list[Image]:
    """The reference pictures, stretched to the size that was asked for."""
    paths = [path for key, path in inputs.items() if key.startswith("frames_reference[")]
    return [scaled(read_image(path)[0], like.height, like.width, Resampling.BICUBIC) for path in paths]
