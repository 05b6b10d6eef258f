"""Warnings that say what to do, when something was wrong for a while, and then only now and then."""

from collections.abc import Mapping
from dataclasses import dataclass

from kinevec.config import Config
from kinevec.train.meter import Status

PATIENCE = 5  # looks at the log in a row that must agree that something is wrong
AGAIN = 100  # looks until it is said again
SETTLED = 100  # steps; encoders that have not learned yet look collapsed

SPREAD = 0.1  # of 1; less is a collapse. Sound runs of small encoders pass through 0.3 before they learn
RANK = 0.1  # of the D directions; less is a collapse to few of them. Sound runs stay above a third
STALE = 0.8  # of 1; more, and the oldest keys no longer act like those of the present
WAITING = 0.3  # share of the time


@dataclass(frozen=True)
class Alarm:
    """What is wrong, in a word for the progress line, and in a sentence that says what to do."""

    name: str
    words: str


def signs(status: Status, config: Config, fresh: int) -> list[Alarm]:
    """What looks wrong at a moment.

    Args:
        status: of the run now.
        fresh: the step from which on the queue holds only keys of the run.
    """
    health, found = status.health, []
    if health and status.step >= SETTLED and collapsed(health, config.method.dim):
        spread, rank = health["spread"], health["rank"]
        centre = "" if config.method.centred else ", or set method.centred=true"
        found.append(
            Alarm(
                "collapse",
                f"the embeddings collapse: spread {spread:.2f} (sound: near 1), effective rank {rank:.1f} of "
                f"{config.method.dim}; lower train.lr (now {config.train.lr}), raise method.momentum "
                f"(now {config.method.momentum}){centre}",
            )
        )
    if health.get("stale", 0.0) > STALE and status.step >= SETTLED + 2 * fresh:
        found.append(
            Alarm(
                "stale queue",
                f"the oldest of the queue's keys, {fresh} steps old, are unlike those of now (staleness "
                f"{health['stale']:.2f} of 1): lower method.queue (now {config.method.queue}) or raise "
                f"method.momentum (now {config.method.momentum})",
            )
        )
    if status.waiting > WAITING:
        found.append(
            Alarm(
                "loader slow",
                f"{status.waiting:.0%} of the time is spent waiting for clips: raise data.workers, train on videos "
                "made by `kinevec prepare`, or raise data.store_limit_gb so that they are decoded only once",
            )
        )
    return found


def collapsed(health: Mapping[str, float], dim: int) -> bool:
    """Whether the embeddings use so little of their D directions that a low loss says nothing."""
    return health["spread"] < SPREAD or health["rank"] < RANK * dim


class Alarms:
    """Counts for how many looks in a row something was wrong.

    Attributes:
        counts: name of an alarm → looks.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self.counts = dict(counts or {})

    def heed(self, found: list[Alarm]) -> list[str]:
        """Takes in one look; returns the sentences that are to be said now."""
        self.counts = {alarm.name: self.counts.get(alarm.name, 0) + 1 for alarm in found}
        return [
            alarm.words
            for alarm in found
            if self.counts[alarm.name] >= PATIENCE and (self.counts[alarm.name] - PATIENCE) % AGAIN == 0
        ]

    @property
    def ailing(self) -> tuple[str, ...]:
        """Names of what has been wrong for long enough to be said."""
        return tuple(name for name, count in self.counts.items() if count >= PATIENCE)
