"""Run as a program: works through a range of searches and votes, and writes a digest of each answer.

The caller chooses the instruction set by EBSYNTH_ISA; the answers must not depend on it.
"""

import hashlib
import json
import sys

import numpy as np
from numpy.typing import NDArray

from diffsynth.engines.native import Frame, Masks, Settings, estimate, instruction_set, vote


def digest(*arrays: NDArray[np.generic] | None) -> str:
    taken = hashlib.sha256()
    for array in arrays:
        if array is not None:
            taken.update(np.ascontiguousarray(array).tobytes())
    return taken.hexdigest()[:16]


def answers() -> dict[str, str]:
    rng = np.random.default_rng(0)

    def picture(height: int, width: int, channels: int) -> NDArray[np.uint8]:
        # Smooth, so that neighbours' matches agree, with black and white to strain the sums.
        values = rng.normal(0, 1, (height, width, channels)).cumsum(0).cumsum(1)
        return np.clip(128 + 20 * values, 0, 255).astype(np.uint8)

    results: dict[str, str] = {}
    # Guide channels 1 to 24 and style channels 0 to 8 make 1 to 8 groups of four in rows of every length.
    combinations = [(1, 0), (3, 0), (4, 3), (3, 3), (5, 3), (9, 1), (12, 4), (16, 8), (24, 8), (20, 0)]
    for patch in (3, 5, 7, 9, 11, 15, 21, 33):
        for guides, style in combinations:
            source, target = picture(39, 37, guides), picture(35, 42, guides)
            styles = None if style == 0 else [picture(39, 37, style)]
            preset = "generic" if (patch + guides) % 4 == 0 else "video"
            settings = Settings(
                preset=preset, patch=patch, rounds=2, sweeps=2, threads=1, error_weighted=guides % 2 == 0
            )
            found = estimate([(0, 1)], [Frame(source), Frame(target)], styles, settings=settings)
            name = f"{preset} patch {patch} guides {guides} style {style}"
            results[name] = digest(found.nnf_yx, found.error, found.voted)
            image = picture(39, 37, max(style, 1))
            results[f"vote {name}"] = digest(vote(found.nnf_yx[0], image, patch=patch, threads=1))
            weighted = vote(found.nnf_yx[0], image, patch=patch, error=found.error[0], threads=1)
            results[f"weighted vote {name}"] = digest(weighted)
    modulated = estimate(
        [(0, 1)],
        [Frame(picture(31, 33, 3)), Frame(picture(33, 31, 3))],
        settings=Settings(patch=5, threads=1),
        masks=Masks(modulation=[picture(33, 31, 1)]),
    )
    results["modulated"] = digest(modulated.nnf_yx, modulated.error)
    return results


if __name__ == "__main__":
    json.dump({"isa": instruction_set(), "answers": answers()}, sys.stdout)
