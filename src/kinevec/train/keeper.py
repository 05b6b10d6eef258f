"""Which files of a run are kept: the newest checkpoint, those before it, and that of the best epoch."""

from pathlib import Path
from typing import Any

from torch import nn

from kinevec.config import Config
from kinevec.train.checkpoint import (
    BEST,
    BEST_ENCODER,
    CHECKPOINT,
    ENCODER,
    clear_parts,
    copy_whole,
    save_checkpoint,
    save_encoder,
)


class Keeper:
    """Writes the checkpoints of a run.

    Args:
        folder: of the run.

    Attributes:
        saved: step of the newest checkpoint; None where there is none, or a damaged one.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self.config = config
        self.saved: int | None = None

    def save(self, state: dict[str, Any], encoder: nn.Module, best: int | None) -> None:
        """Writes checkpoint and encoder.

        Args:
            state: for `save_checkpoint`.
            best: step at the end of the best epoch so far.

        Raises:
            OutputError: they cannot be written; the checkpoints that were there are whole.
        """
        keep = self.config.train.keep
        save_checkpoint(self.folder, state, self.config, previous=self.saved, keep=keep)
        self.saved = state["step"]
        save_encoder(self.folder, encoder, self.config, state["step"])
        self._name_best(best)

    def take_up(self, state: dict[str, Any], encoder: nn.Module, best: int | None) -> None:
        """The run goes on from what `load_checkpoint` read; makes good what a kill between two files has left.

        Args:
            encoder: as it was in that checkpoint.
            best: as for `save`.
        """
        self.saved = state["step"] if state["file"] == CHECKPOINT else None
        clear_parts(self.folder)
        save_encoder(self.folder, encoder, self.config, state["step"])
        self._name_best(best)

    def _name_best(self, best: int | None) -> None:
        """Gives the files of the best epoch names of their own, where it has just ended."""
        if best is not None and best == self.saved:
            copy_whole(self.folder / CHECKPOINT, self.folder / BEST)
            copy_whole(self.folder / ENCODER, self.folder / BEST_ENCODER)
