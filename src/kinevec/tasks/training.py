"""Training an encoder."""

from collections.abc import Iterable
from pathlib import Path

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.tasks.videos import open_training
from kinevec.tasks.watcher import Silent, Watcher, counter
from kinevec.train import loop


def pretrain(
    source: str | Path | Config,
    data: str | Path,
    out: str | Path,
    *,
    changes: Iterable[str] = (),
    resume: bool = False,
    watcher: Watcher | None = None,
) -> Path:
    """Trains an encoder on unlabelled videos.

    Args:
        source: a preset's name ("moco"), a TOML file, or a configuration.
        data: folder of videos, CSV, or single file; see `kinevec.data.find_records`.
        out: folder of the run.
        changes: such as "train.epochs=3"; not with a finished configuration.
        resume: go on from the checkpoint in `out`.

    Returns:
        The run's folder.
    """
    watcher = watcher or Silent()
    config = source if isinstance(source, Config) else configuration.load(source, changes)
    loop.check_request(config, Path(out), resume)
    return loop.pretrain(
        config,
        open_training(data, config, watcher),
        Path(out),
        resume=resume,
        on_status=watcher.trained,
        on_decode=counter(watcher, "decoding"),
        on_flow=counter(watcher, "computing flow"),
    )
