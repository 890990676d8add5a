"""Words for pictures: a short, varied language in which season, time and style are always named the same few ways."""

import numpy as np

from demo.painter.palette import Season, Time
from demo.painter.scene import Scene
from demo.painter.styles import LINE_STYLES, Style

STYLE_WORDS: dict[Style, tuple[str, ...]] = {
    "photo": ("photo", "realistic photo", "photograph"),
    "watercolor": ("watercolor", "watercolor painting"),
    "pencil": ("pencil sketch", "pencil drawing"),
    "neon": ("neon", "neon lights"),
    "pixel": ("pixel art",),
    "oil": ("oil painting",),
    "cartoon": ("cartoon", "comic"),
    "blueprint": ("blueprint",),
}
SEASON_WORDS: dict[Season, tuple[str, ...]] = {
    "spring": ("spring", "spring blossom"),
    "summer": ("summer", "green summer"),
    "autumn": ("autumn", "fall"),
    "winter": ("winter", "snowy winter", "snow"),
}
TIME_WORDS: dict[Time, tuple[str, ...]] = {
    "day": ("day", "daylight", "noon"),
    "sunset": ("sunset", "evening", "dusk"),
    "night": ("night", "moonlight", "dark night"),
}
PRAISE = ("best quality", "masterpiece", "beautiful", "highly detailed", "lovely")
PLURAL = {"tree": "trees", "figure": "a person walking"}


def things_in(scene: Scene) -> list[str]:
    """What there is to see, nearest and rarest first."""
    if scene.faces:
        return ["portrait of a person"] if len(scene.faces) == 1 else ["portrait of two people"]
    if scene.kind == "shapes":
        return ["abstract shapes"]
    found: list[str] = []
    for thing in reversed(scene.things):
        name = PLURAL.get(thing.kind, f"a {thing.kind}")
        if thing.kind != "bush" and name not in found:
            found.append(name)
    present = {"a lake": scene.lake, "a road": scene.road, "a balloon": scene.balloon, "mountains": scene.mountains}
    return found + [name for name, thing in present.items() if thing is not None]


def caption(scene: Scene, style: Style, season: Season, time: Time, rng: np.random.Generator) -> str:
    """One of the many ways to ask for this picture. What is left unsaid is summer, day or a photo."""

    def one(words: tuple[str, ...]) -> str:
        return words[int(rng.integers(len(words)))]

    lines = style in LINE_STYLES and style != "cartoon"
    parts = things_in(scene)
    if len(parts) > 1:
        parts = [parts[k] for k in sorted(rng.permutation(len(parts))[: rng.integers(0, 4)])]
    subject = " and ".join(parts) if parts and parts[0] != "abstract shapes" else "landscape"
    if parts[:1] == ["abstract shapes"] and rng.random() < 0.7:
        subject = "abstract shapes"
    named_season = rng.random() < (0.6 if lines else 0.85 if season == "summer" else 1.0)
    named_time = rng.random() < (0.6 if lines else 0.6 if time == "day" else 1.0)
    named_style = style != "photo" or rng.random() < 0.8
    words = one(STYLE_WORDS[style]) if named_style else ""
    order = rng.random()
    season_word = one(SEASON_WORDS[season]) if named_season else ""
    time_word = one(TIME_WORDS[time]) if named_time else ""
    if order < 0.4:
        place = f"{season_word} landscape" if subject == "landscape" else f"{subject} in {season_word}"
        if not named_season:
            place = subject
        text = f"{words} of {place}" if words else place
        text += f" at {time_word}" if named_time else ""
    elif order < 0.75:
        text = ", ".join(word for word in (words, season_word, time_word, subject) if word)
    else:
        text = ", ".join(word for word in (subject, season_word, time_word, words) if word)
    if rng.random() < 0.35:
        text += ", " + one(PRAISE)
    return text
