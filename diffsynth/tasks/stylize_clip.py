"""The stylization of a clip with the networks loaded: from frames to conditions, to latents, and back to frames."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from diffsynth.arrays import ArrayStore
from diffsynth.diffusion.chunks import ChunkPlan
from diffsynth.diffusion.denoise import FIRST, denoise, has_begun, reader
from diffsynth.diffusion.solvers import solver
from diffsynth.errors import RunFolderError
from diffsynth.frames import FrameStore, Image, is_complete
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime, out_of_memory_told
from diffsynth.sd.carried_noise import carried_noise
from diffsynth.sd.control import Condition, embed_clip, kept_dtype
from diffsynth.sd.features import FeatureCache
from diffsynth.sd.first import First
from diffsynth.sd.layout import LATENT_SCALE
from diffsynth.sd.memory import demand
from diffsynth.sd.noise import Noise
from diffsynth.sd.predict import Neighbourhood, Predictor
from diffsynth.sd.reuse import Reuse
from diffsynth.sd.shallow import deep_shape
from diffsynth.sd.smoothing import SmoothingEdit, decode_into
from diffsynth.sd.text import Script
from diffsynth.sized import Resampling, scaled
from diffsynth.smoothers.base import smooth_into
from diffsynth.smoothers.cuts import find_cuts
from diffsynth.tasks.clip import ClipReader, ClipWriter
from diffsynth.tasks.kept import Kept, restored
from diffsynth.tasks.originals import Originals
from diffsynth.tasks.previews import preview_sheet
from diffsynth.tasks.prompts import read_caption
from diffsynth.tasks.scene import Scene, painted
from diffsynth.tasks.shown import differing, repeated, shown_store, spread
from diffsynth.tasks.stylize_parts import Control, Deflicker, Look, Model

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
    still: float | None
    """By how many levels a frame must differ from the one before to be rendered; None renders all."""
    runtime: Runtime

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        self._settle(run)
        for remark in self.model.remarks:
            progress.note(remark)
        with out_of_memory_told():
            if self.preview is not None:
                return self._previewed(self.preview, inputs, run, progress)
            clip, asked = self.reader.read(inputs["input_video"], run, progress)
            whole = Scene.of(inputs, asked, None, self.reader, run, progress)
            kept = self._kept(whole)
            rendered = (
                self._rendered(whole, kept, asked) if self.still is None else self._differing(whole, kept, self.still)
            )
            smoothed = self._post_smoothed(whole.source, rendered, run, progress)
            if kept.mask is not None or (kept.painted and smoothed is not rendered):
                smoothed = restored(smoothed, kept, run.work("restored"))
            return self.writer.write(clip, smoothed, run, progress)

    def _previewed(self, count: int, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        """A few frames of the clip, by themselves, and those that the user painted."""
        clip = self.reader.open(inputs["input_video"])
        shown = spread(clip, count, painted(inputs))
        asked = shown_store(clip, shown, run.work("input"))
        scene = Scene.of(inputs, asked, shown, self.reader, run, progress)
        kept = self._kept(scene)
        rendered = self._rendered(scene, kept, (frame.rgb for frame in clip.frames()))
        return preview_sheet(scene.source, restored(rendered, kept, run.work("restored")), run.path)

    def _kept(self, scene: Scene) -> Kept:
        return scene.kept(self.look.feather, regional=self.model.wording.background is not None)

    def _differing(self, whole: Scene, kept: Kept, still: float) -> FrameStore:
        """The frames that are worth rendering; the others show the one before."""
        clip, run = whole.asked, whole.run
        shown = differing(clip, still, kept.painted.paths, run.work("shown.json"))
        if len(shown.positions) == len(clip):
            return self._rendered(whole, kept, clip)
        whole.progress.note(
            f"{len(shown.positions)} of {len(clip)} frames differ from the one before; only they are rendered."
        )
        scene = whole.only(shown)
        rendered = self._rendered(scene, kept.among(shown, scene.source), clip)
        return repeated(rendered, shown, whole.source, run.work("repeated"))

    def _rendered(self, scene: Scene, kept: Kept, clip: Iterable[Image]) -> FrameStore:
        """The frames as the networks see them, painted. In `clip`, all of its frames, cuts are looked for."""
        run, folder = scene.run, scene.run.work("rendered")
        if is_complete(folder):
            return FrameStore(folder)
        with run.timed("conditions"):
            maps = [scene.maps(control, number) for number, control in enumerate(self.controls)]
        script = self._script(scene, clip)
        with self.model.at_work():
            conditions = [
                embed_clip(control.branch, each, run.work(f"embedded-{number}"), scene.progress)
                for number, (control, each) in enumerate(zip(self.controls, maps, strict=True))
            ]
            with run.timed("denoise"):
                latents = self._denoised(scene, kept, script, conditions)
            with run.timed("decode"):
                rendered = self._decoded(latents, scene, kept, folder)
        for name in (
            "latents",
            "noise",
            "features",
            "painted",
            *(f"embedded-{number}" for number in range(len(self.controls))),
        ):
            shutil.rmtree(run.work(name), ignore_errors=True)
        return rendered

    def _script(self, scene: Scene, clip: Iterable[Image]) -> Script:
        """Which prompt each frame hears."""
        wording = self.model.wording
        caption = read_caption(scene.inputs["caption"]) if wording.captioned else ""
        words = self.model.speaker.words(wording.texts(caption))
        return Script(words, wording.numbers(lambda: find_cuts(clip))).among(scene.positions)

    def _denoised(self, scene: Scene, kept: Kept, script: Script, conditions: Sequence[Condition]) -> ArrayStore:
        model, look, source, progress = self.model, self.look.among(scene.positions), scene.source, scene.progress
        shape = (model.vae.channels, source.height // LATENT_SCALE, source.width // LATENT_SCALE)
        strength = max(look.strength.values)
        schedule = model.schedule if strength == 1 else model.schedule.cut(strength)
        if not schedule.steps:
            progress.note(
                f'"img2img_strength" {strength} of {len(model.schedule.steps)} steps is less than one: the frames '
                "only go through the autoencoder."
            )
        carried = None
        if look.noise == "warped":
            carried = carried_noise(source, shape[0], look.seed.values[0], scene.run.work("noise"), progress)
        noise = Noise(shape, look.seed, look.noise, carried)
        neighbourhood = Neighbourhood(look.mode, scene.pattern(look.pattern), look.halo, len(source))
        references = [scaled(each, source.height, source.width, Resampling.LANCZOS) for each in scene.references()]
        predictor = Predictor(
            model.networks.among(scene.positions),
            tuple(conditions),
            script,
            look.guidance,
            schedule,
            neighbourhood,
            noise,
            model.vae.encode(references) if references else None,
            self._reuse(scene),
            None if kept.region is None else kept.region.of_latents,
        )
        folder = scene.run.work("latents")
        moved = solver(schedule.name, noise.of_step)
        original = Originals(
            model.vae, model.vae_identity, source, kept.painted, scene.run.work("painted"), progress
        ).of
        hold = kept.hold(original, schedule, len(model.schedule.steps), look.strength)
        start = First(schedule, look.strength, noise, original, hold)
        if not has_begun(folder, len(source)):
            start.write(folder / FIRST, moved, len(source))
        plan, edit = self._plan(source, scene.run), self._edit(source, progress)
        return denoise(folder, schedule, moved, predictor, plan, progress, edit, hold)

    def _reuse(self, scene: Scene) -> Reuse | None:
        model, source = self.model, scene.source
        if model.outer is None:
            return None
        sides = source.height // LATENT_SCALE, source.width // LATENT_SCALE
        shape = deep_shape(model.networks.unet, *sides)
        kept = FeatureCache(
            scene.run.work("features"), model.interval, len(source), shape, kept_dtype(model.networks.placement.dtype)
        )
        return Reuse(model.outer.among(scene.positions), kept)

    def _edit(self, source: FrameStore, progress: Progress) -> SmoothingEdit | None:
        deflicker = self.deflicker
        if deflicker.smoother is None or self.preview is not None:
            return None
        prepared = deflicker.smoother.prepare(source, progress)
        return SmoothingEdit(self.model.vae, prepared, source, deflicker.interval, deflicker.ignored, progress)

    def _decoded(self, latents: ArrayStore, scene: Scene, kept: Kept, folder: Path) -> FrameStore:
        read, source = reader(latents), scene.source

        def clean(start: int) -> Iterator[tuple[range, torch.Tensor]]:
            with scene.progress.stage("decode", len(source), start) as stage:
                for position in range(start, len(source)):
                    yield range(position, position + 1), read([position])
                    stage.advance()

        return decode_into(self.model.vae, clean, source, folder, kept.with_painted)

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
            sides=self.model.sides(look.guidance),
            itemsize=self.model.networks.placement.dtype.itemsize,
        )
        return needed.chunk(self.runtime.free_memory(), around)

    def _post_smoothed(
        self, source: FrameStore, rendered: FrameStore, run: RunFolder, progress: Progress
    ) -> FrameStore:
        if self.deflicker.post is None or self.preview is not None:
            return rendered
        with run.timed("post_smooth"):
            prepared = self.deflicker.post.prepare(source, progress)
            return smooth_into(prepared, rendered, source, run.work("finished"), run.work("tables"), progress)
