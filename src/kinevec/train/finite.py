"""What is done about numbers that are not finite: which step, which terms, which videos."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from kinevec import ranks
from kinevec.config import Train
from kinevec.data.whole import write_text
from kinevec.errors import TrainingError
from kinevec.train.meter import Fault

FAULTS = "not_finite.json"
MOST_SKIPPED = 10  # batches; more than that and it is not the batches
NAMED = 4  # videos in a message; all of them are in the file


class NotFinite(Exception):
    """Something was not finite; never leaves the trainer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"step {fault.step}: {', '.join(fault.names)}")
        self.fault = fault


def check_weights(model: nn.Module, step: int, videos: tuple[int, ...]) -> None:
    """Looks at every weight, statistic and queue; waits for the device once. All ranks look, and find the same.

    Args:
        videos: of this rank's part of the batch of step number `step`.

    Raises:
        NotFinite: one holds NaN or infinity on some rank after that step; names the videos of all ranks.
    """
    floats = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    finite = torch.stack([value.isfinite().all() for value in floats.values()]).tolist()
    mine = [name for name, sound in zip(floats, finite, strict=True) if not sound]
    found = ranks.collected((mine, videos))
    wrong = list(dict.fromkeys(name for names, _ in found for name in names))
    if wrong:
        seen = tuple(place for _, places in found for place in places)
        raise NotFinite(Fault(step, (f"{len(wrong)} weights of the model ({wrong[0]}, …)",), seen))


def describe(folder: Path, fault: Fault, videos: Sequence[str], total: int) -> str:
    """Says what was not finite, and lists the videos of its batch in `not_finite.json`.

    Args:
        videos: names of those in the batch.
        total: steps of the run.
    """
    content = {"step": fault.step + 1, "figures": list(fault.names), "videos": list(videos)}
    if ranks.first():
        write_text(folder / FAULTS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    more = f" and {len(videos) - NAMED} more, see {FAULTS}" if len(videos) > NAMED else ""
    batch = f" (batch of {', '.join(videos[:NAMED])}{more})" if videos else ""
    return f"{', '.join(fault.names)} not finite at step {fault.step + 1} of {total}{batch}"


def check_skip(words: str, train: Train, *, saved: bool, skipped: int) -> None:
    """Whether a run may go on without the batch of a fault.

    Args:
        words: what was not finite.
        saved: whether there is a checkpoint.
        skipped: batches that were left out already.

    Raises:
        TrainingError: it may not, or has done so too often.
    """
    kept = "the last checkpoint is whole" if saved else "nothing was saved yet"
    if train.on_nan == "stop":
        raise TrainingError(
            f"{words}; {kept}. Lower train.lr (now {train.lr}), set train.precision=fp32, or leave such batches "
            "out with train.on_nan=skip"
        )
    if skipped >= MOST_SKIPPED:
        raise TrainingError(
            f"{words}, after {skipped} other batches were left out for the same reason: it is not the videos; "
            f"{kept}. Lower train.lr (now {train.lr}) or set train.precision=fp32"
        )
