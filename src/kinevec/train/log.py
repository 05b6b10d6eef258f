"""What a run writes down while it trains: JSON lines and TensorBoard."""

import json
from pathlib import Path
from typing import Any

LOG = "log.jsonl"


class RunLog:
    """Appends one entry per call to `log.jsonl` and to TensorBoard files in the run's folder.

    Args:
        folder: of the run.
        step: the step the run goes on from; entries of later steps, left by an interrupted run, are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        path = folder / LOG
        kept = [entry for entry in read_log(folder) if entry["step"] <= step]
        path.write_text("".join(json.dumps(entry) + "\n" for entry in kept), "utf-8")
        self.file = path.open("a", encoding="utf-8")
        self.board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Notes named values of a step."""
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Finishes both files."""
        self.file.close()
        self.board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All entries of a run's log, oldest first; a last line cut short by a crash is left out."""
    entries = []
    path = folder / LOG
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries
