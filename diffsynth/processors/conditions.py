"""Conditions by way of the cache: a clip that a processor has read once is not read again."""

from diffsynth.cache import ContentCache, frames_digest
from diffsynth.frames import FrameStore
from diffsynth.processors.base import Advance, Processor


def condition(processor: Processor, frames: FrameStore, cache: ContentCache, advance: Advance) -> FrameStore:
    """The maps of a clip. The key is what the frames hold and all that the processor depends on: another prompt, run
    folder or file name is the same condition."""
    key = {"frames": frames_digest(frames), **processor.fingerprint}
    return cache.get(key, lambda folder: processor.process(frames, folder, advance))
