"""Judging an encoder."""

from pathlib import Path

from kinevec.evaluate import evaluation
from kinevec.evaluate.evaluation import Evaluation
from kinevec.tasks.videos import open_collection
from kinevec.tasks.watcher import Silent, Watcher, check_writable, counter
from kinevec.train.checkpoint import load_encoder


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    clips: int = evaluation.CLIPS,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> Evaluation:
    """Scores a run's encoder on labelled videos, beside the untrained encoder and chance.

    Args:
        run: the run's folder.
        data: as for `pretrain`; where the data name no split, the same videos are held out as there.
        out: JSON file to write; None: `eval.json` in the run's folder.
        clips: clips a video.
        device: where to compute.
    """
    watcher = watcher or Silent()
    _, config, _ = load_encoder(Path(run))
    target = Path(out) if out else Path(run) / "eval.json"
    check_writable(target)
    collection = open_collection(data, config, watcher)
    result = evaluation.evaluate(
        Path(run), collection, clips=clips, device=device, progress=counter(watcher, "encoding")
    )
    result.write(target)
    return result
