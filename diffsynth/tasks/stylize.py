"""`stylize`: a clip, a prompt and ControlNets in; a stylized clip that holds still where the source does out."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, get_args

from diffsynth import hub
from diffsynth.config import Contradiction, Respelled, select
from diffsynth.config.fields import hub_id, local_path
from diffsynth.config.keyed import values
from diffsynth.diffusion.schedule import SLOTS
from diffsynth.runtime import Runtime
from diffsynth.sd import vocabulary
from diffsynth.sd.checkpoint_ref import CheckpointRef
from diffsynth.sd.layout import floored
from diffsynth.smoothers import SmootherName
from diffsynth.smoothers.base import Smoother
from diffsynth.smoothers.ebsynth_smoother import EbsynthSmootherConfig
from diffsynth.tasks import fit
from diffsynth.tasks.adapters import brought_models, shown
from diffsynth.tasks.base import Prediction, Task
from diffsynth.tasks.clip import ClipTaskConfig
from diffsynth.tasks.controlnets import LIST_SCHEMAS, join_parallel_lists, select_processor
from diffsynth.tasks.foresight import Load, foresee
from diffsynth.tasks.prompts import caption_file
from diffsynth.tasks.stylize_checks import beyond, contradictions, without_effect
from diffsynth.tasks.stylize_settings import StylizeSettings
from diffsynth.tracks import Track


class StylizeConfig(StylizeSettings):
    """Stylize a clip by a prompt, ControlNets and, where wanted, a style image or reference frames."""

    USES_DEVICE = True
    INERT: ClassVar[frozenset[str]] = ClipTaskConfig.INERT | {"memory"}
    OLDER_SPELLINGS: ClassVar[Mapping[str, dict[str, Any]]] = {
        **LIST_SCHEMAS,
        "mask_video": {"type": "string", "format": "path", "description": "`mask`, of a clip."},
    }

    @classmethod
    def respell(cls, tree: dict[str, Any]) -> Respelled:
        respelled = Respelled(dict(tree))
        join_parallel_lists(respelled)
        if "mask_video" in respelled.tree:
            if "mask" in respelled.tree:
                respelled.problems.append('"mask" and "mask_video" say the same in two ways. Keep one of them.')
            respelled.tree["mask"] = respelled.tree.pop("mask_video")
            respelled.aliases["mask"] = "mask_video"
        for name in ("smoother", "post_smoother"):
            select(respelled, name, f"{name}_config", get_args(SmootherName))
        nets = respelled.tree.get("controlnets")
        if isinstance(nets, list):
            respelled.tree["controlnets"] = [select_processor(respelled, net) for net in nets]
        return respelled

    def contradictions(self) -> Iterator[Contradiction]:
        yield from super().contradictions()
        yield from contradictions(self)

    def inputs(self) -> dict[str, Path]:
        references = {f"frames_reference[{index}]": path for index, path in enumerate(self.frames_reference)}
        style = {"style_image": self.style_image} if self.style_image else {}
        ready = {
            f"controlnets[{i}].condition": net.condition for i, net in enumerate(self.controlnets) if net.condition
        }
        mask = {"mask": self.mask} if self.mask else {}
        caption = {"caption": caption_file(self.main_clip())} if self.wording().captioned else {}
        painted = {f"keyframes[{frame}]": path for frame, path in self.keyframes.items()}
        pictures = shown(self.ip_adapter)
        return {**super().inputs(), **style, **references, **ready, **pictures, **mask, **painted, **caption}

    def predict(self) -> Prediction:
        plain = super().predict()
        acting = [net for net in self.controlnets if net.counts]
        wanted = self._checkpoint()
        fit.check(wanted, self.vae, acting, self.lora, self.textual_inversion, self.ip_adapter, self.clip_skip)
        processors = [net.processor_config for net in acting if net.processor_config is not None]
        weights = [model for each in processors for model in each.models()]
        vae = (self.vae,) if self.vae else ()
        settings = (self.model_settings,) if self.model_settings else ()
        brought = brought_models((*self.lora, *self.textual_inversion), self.ip_adapter)
        models = dict.fromkeys((self.model_id, *settings, *vae, *(net.model_id for net in acting), *weights, *brought))
        ids = [each for each in map(hub_id, models) if each]
        moved = [f"{old} is no longer on the hub; use {hub.MOVED[old]}." for old in ids if old in hub.MOVED]
        foreseen = foresee(self._load(), plain)
        disk = None if plain.disk_bytes is None else plain.disk_bytes + foreseen.disk_bytes
        return Prediction(
            plain.frames,
            floored(plain.height),
            floored(plain.width),
            disk,
            memory_bytes=foreseen.memory_bytes,
            downloads=tuple(
                each for each in (*ids, *vocabulary.to_fetch(wanted.local, wanted.config)) if not hub.is_cached(each)
            ),
            remarks=(*plain.remarks, *moved, *foreseen.remarks, *beyond(self, plain.frames), *without_effect(self)),
        )

    def _checkpoint(self) -> CheckpointRef:
        return CheckpointRef(
            self.model_id, self.model_settings, self.prediction_type, self.timestep_spacing, self.revision, self.variant
        )

    def _load(self) -> Load:
        return Load(
            local_path(self.model_id),
            None if self.model_settings is None else local_path(self.model_settings),
            [local_path(net.model_id) for net in self.controlnets if net.counts],
            self.pattern(),
            self.halo,
            self.attention_mode == "shared",
            None if self.chunk_size == "auto" else self.chunk_size,
            guided=set(values(self.guidance_scale)) != {1},
            regions=1 + (self.background_prompt is not None),
            itemsize=2 if self.dtype in ("float16", "bfloat16") else 4,
            slots=SLOTS.get(self.scheduler, 1),
            features=self.feature_cache > 1,
            warped=self.noise == "warped",
            kept=self.mask is not None,
            still=self.skip_still is not None,
        )

    def build(self, runtime: Runtime) -> Task:
        from diffsynth.tasks.stylize_clip import Stylize
        from diffsynth.tasks.stylize_parts import Deflicker, Look, Speed, Wanted, load_model

        runtime = replace(runtime, dtype=self.dtype)
        wanted = Wanted(
            self._checkpoint(),
            self.vae,
            self.controlnets,
            self.wording(),
            self.clip_skip,
            self.scheduler,
            self.num_inference_steps,
            self.attention_backend,
            self.memory,
            Speed(self.token_merging, self.compile, self.feature_cache),
            self.lora,
            self.textual_inversion,
            self.ip_adapter,
        )
        model, controls = load_model(wanted, runtime)
        look = Look(
            Track.of(self.guidance_scale),
            self.attention_mode,
            self.pattern(),
            self.halo,
            None if self.chunk_size == "auto" else self.chunk_size,
            Track.of(self.seed_of_noise),
            self.noise,
            Track.of(self.img2img_strength),
            self.mask_feather,
        )
        smoother = None if self.smoother_config is None else self.smoother_config.build(runtime)
        deflicker = Deflicker(smoother, self.smoother_interval, self.ignore_smoother_steps, self._post(runtime))
        return Stylize(
            self.reader(), self.writer(), model, controls, look, deflicker, self.preview, self.skip_still, runtime
        )

    def _post(self, runtime: Runtime) -> Smoother | None:
        reach = self.extra_deflickering_range
        if not reach:
            return None if self.post_smoother_config is None else self.post_smoother_config.build(runtime)
        like = self.smoother_config
        base = like if isinstance(like, EbsynthSmootherConfig) else EbsynthSmootherConfig()
        offsets = tuple(offset for offset in range(-reach, reach + 1) if offset)
        return base.model_copy(update={"smooth_index": offsets}).build(runtime)
