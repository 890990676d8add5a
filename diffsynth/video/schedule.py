"""When each frame of an output is shown."""

from fractions import Fraction

from diffsynth.timing import Timing


class Schedule:
    """The output's time stamps, from 0: the even grid of a rate, or a source's own where they leave that grid."""

    def __init__(self, fps: Fraction, timing: Timing | None, time_base: Fraction | None = None) -> None:
        self._timing = timing
        self.variable = timing is not None and not timing.is_regular(fps)
        # Containers and encoders hold rates in 32 bits.
        self.fps = fps.limit_denominator(100_000)
        own = timing.time_base if timing is not None and self.variable else 1 / self.fps
        self.time_base = own if time_base is None else time_base
        self._scale = own / self.time_base

    def span(self, position: int) -> tuple[int, int]:
        """(begin, end) of a frame in ticks of `time_base`; each frame lasts at least one."""
        begin, end = self._scaled(position), self._scaled(position + 1)
        return begin, max(begin + 1, end)

    def _scaled(self, position: int) -> int:
        return int(self._tick(position) * self._scale + Fraction(1, 2))

    def _tick(self, position: int) -> int:
        if self._timing is None or not self.variable:
            return position
        ticks = self._timing.ticks
        if position > len(ticks):
            raise ValueError(f"frame {position} has no time stamp: there are {len(ticks)}")
        return int((ticks[position] if position < len(ticks) else self._timing.until) - ticks[0])

    def check(self, count: int) -> None:
        """Refuse `count` frames if the time stamps are for another number."""
        if self._timing is not None and count != len(self._timing):
            raise ValueError(f"{count} frames were written, but there are time stamps for {len(self._timing)}")
