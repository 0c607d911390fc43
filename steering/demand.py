"""What viewers take, from what appliances say they have sent. Pure.

Appliances tell sums since their boot; what is wanted is what has come since the last time. Each
figure comes with the part of it that was told before: so it counts from there when steering has
begun anew, has forgotten the appliance, or shares it with others of its kind; and what was taken
without the appliance hearing of it is taken once, because the figure itself is remembered here.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from media.fleet import Demand

Sink = Callable[[str, str, str, int, float], None]
"""Hears that in a region so many bytes of a package's rendition were taken, by this Unix time."""

# 0.2 KB each. What is forgotten is counted right all the same, unless a word got lost just then.
MAX_FIGURES = 500_000


class _Heard:
    """An appliance's figures since a boot of its."""

    def __init__(self, boot_id: str) -> None:
        self.boot_id = boot_id
        self.sequence = -1
        self.figures: OrderedDict[tuple[str, str], int] = OrderedDict()


class DemandBook:
    """Takes the words of appliances, and tells the sink what is new."""

    def __init__(self, sink: Sink, most: int = MAX_FIGURES) -> None:
        self._sink = sink
        self._most = most
        self._heard: OrderedDict[str, _Heard] = OrderedDict()
        self._figures = 0

    def __len__(self) -> int:
        """Figures that are remembered."""
        return self._figures

    def take(self, appliance_id: str, region: str, message: Demand, now_s: float) -> bool:
        """The message counts; returns whether it was news. One that comes again, or after a later
        one of its boot, is none: the later one had all of it."""
        heard = self._heard.get(appliance_id)
        if heard is None or heard.boot_id != message.boot_id:
            self._drop(appliance_id)
            heard = self._heard[appliance_id] = _Heard(message.boot_id)
        if message.sequence <= heard.sequence:
            return False
        heard.sequence = message.sequence
        self._heard.move_to_end(appliance_id)
        for served in message.served:
            name = served.package_id, served.rendition_id
            known = heard.figures.pop(name, None)
            self._figures += known is None
            heard.figures[name] = served.bytes
            more = served.bytes - _from(served.bytes, served.told, known or 0)
            if more > 0:
                self._sink(region, *name, more, now_s)
        self._make_room(heard)
        return True

    def forget(self, alive: Iterable[str]) -> None:
        """Other appliances than these are gone."""
        for appliance_id in self._heard.keys() - set(alive):
            self._drop(appliance_id)

    def _make_room(self, speaking: _Heard) -> None:
        """Who was silent for longest is forgotten first, and of the last one the oldest figures."""
        while self._figures > self._most:
            appliance_id, heard = next(iter(self._heard.items()))
            if heard is not speaking:
                self._drop(appliance_id)
                continue
            while self._figures > self._most:
                heard.figures.popitem(last=False)
                self._figures -= 1

    def _drop(self, appliance_id: str) -> None:
        heard = self._heard.pop(appliance_id, None)
        self._figures -= 0 if heard is None else len(heard.figures)


def _from(sent: int, told: int, known: int) -> int:
    """From where the figure counts. One that is lower than it was has begun anew: its appliance had
    forgotten the rendition meanwhile."""
    return min(told, sent) if sent < known else max(told, known)
