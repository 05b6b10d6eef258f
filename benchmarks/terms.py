"""Does every term of MSCL and FIMA fall in training, and do FIMA's foreground masks find who moves?

    python benchmarks/terms.py FOLDER results/NAME.json [--epochs 30] [--set section.key=value ...]

Writes down each term's mean over the first and the last tenth of the run, MSCL's local accuracy likewise (chance is one
over the number of flow steps and rotated ones), and for dark videos with a bright silhouette, such as depth
videos, the overlap of FIMA's foreground cells with the cells that the silhouette covers, before and after
training, beside that of randomly drawn cells.
"""

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from kinevec import config as configuration
from kinevec import encoders
from kinevec.config import Config
from kinevec.data.sampling import even_clips
from kinevec.data.source import Collection, FileSource
from kinevec.data.whole import write_text
from kinevec.methods.fima.foreground import foreground_mask
from kinevec.models.encoder import Encoder
from kinevec.runtime import provenance
from kinevec.tasks import open_collection
from kinevec.train.checkpoint import untrained_encoder
from kinevec.train.loop import pretrain
from kinevec.train.meter import Status
from kinevec.views.pipeline import centre_view, finish_batch, finish_difference

BRIGHT = 24  # of 255: brighter pixels belong to the silhouette
COVERED = 0.1  # a cell with this share of silhouette, over all frames of the clip, shows it
BATCH = 32  # videos whose batch-norm statistics are shared, as in training
DRAWS = 200  # of random cells


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--set", dest="changes", action="append", default=[])
    parser.add_argument("--silhouettes", action="store_true", help="the videos are dark but for who moves")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    made = provenance(command=False)
    result = {"kind": "terms", "data": arguments.data.name, "provenance": made, "presets": {}}
    for preset in ("mscl", "fima"):
        config = configuration.load(preset, [f"train.epochs={arguments.epochs}", *arguments.changes])
        collection = open_collection(arguments.data, config, split=config.data.split)
        statuses: list[Status] = []
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            begun = time.perf_counter()
            pretrain(config, collection, run, on_status=statuses.append)
            minutes = round((time.perf_counter() - begun) / 60, 1)
            found = {"config": configuration.to_dict(config), "minutes": minutes, **ends(statuses)}
            if preset == "fima" and arguments.silhouettes:
                trained = encoders.load(run).encoder
                found["foreground"] = foreground(config, collection, untrained_encoder(config), trained)
        result["presets"][preset] = found
        print(preset, json.dumps({name: found[name] for name in found if name != "config"}), flush=True)
    write_text(arguments.result, json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def ends(statuses: list[Status]) -> dict[str, object]:
    """Mean of every logged value over the first and the last tenth of the run."""
    tenth = max(1, len(statuses) // 10)
    names = [name for name in statuses[0].values if name not in ("gradient", "spread")]

    def mean(part: list[Status], name: str) -> float:
        return float(np.mean([status.values[name] for status in part]))

    return {
        "steps": statuses[-1].total,
        "first": {name: mean(statuses[:tenth], name) for name in names},
        "last": {name: mean(statuses[-tenth:], name) for name in names},
    }


def foreground(
    config: Config, collection: Collection, before: Encoder, after: Encoder
) -> dict[str, dict[str, float]]:
    """Overlap (intersection over union) of foreground cells with silhouette cells, mean over videos."""
    source = FileSource(collection)
    overlaps: dict[str, list[float]] = {"before": [], "after": [], "chance": []}
    rng = np.random.default_rng(0)
    for start in range(0, len(collection) - BATCH + 1, BATCH):
        clips = []
        for index in range(start, start + BATCH):
            (numbers,) = even_clips(source.frames(index), config.clip, 1)
            clips.append(centre_view(source.read(index, numbers).frames, config.clip.size))
        frames = torch.from_numpy(np.stack(clips))
        with torch.no_grad():
            rgb, motion = finish_batch(frames, config.views), finish_difference(frames, config.views)
            masks = {}
            for name, encoder in (("before", before), ("after", after)):
                encoder.train()  # statistics of the batch, each kind of clip by itself, as the key side has them
                masks[name] = foreground_mask(encoder(rgb), encoder(motion))
        bright = (frames.float().mean(-1) > BRIGHT).float().mean(1, keepdim=True)  # (N, 1, S, S)
        truth = F.adaptive_avg_pool2d(bright, masks["after"].shape[1:])[:, 0] > COVERED
        for name, mask in masks.items():
            overlaps[name] += overlap(mask.numpy(), truth.numpy())
        cells = masks["after"][0].numel()
        for _ in range(DRAWS // BATCH + 1):
            drawn = np.stack([rng.permutation(cells) < cells // 2 for _ in range(BATCH)])
            overlaps["chance"] += overlap(drawn.reshape(truth.shape), truth.numpy())
    return {
        name: {"iou": float(np.mean(values)), "std_over_clips": float(np.std(values)), "clips": len(values)}
        for name, values in overlaps.items()
    }


def overlap(mask: np.ndarray, truth: np.ndarray) -> list[float]:
    """Intersection over union of (N, H, W) cells, for the clips that show a silhouette at all."""
    both, either = (mask & truth).sum((1, 2)), (mask | truth).sum((1, 2))
    shown = truth.any((1, 2))
    return list(both[shown] / either[shown])


if __name__ == "__main__":
    main()
