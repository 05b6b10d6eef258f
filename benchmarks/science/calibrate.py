"""Set the benchmark's difficulty: how well supervised training names the actions of training people held out.

    python benchmarks/science/calibrate.py SOURCE results/science/calibration.json [--trials NAME,...] [--held s7,s3]

A trial is a look of the scenes and settings of the ceiling. People of the test split are never looked at. Trials that
the result holds are kept; scenes are made in memory, without the losses of video compression.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from people import Person, cut_out
from rows import SUPERVISED, config_of
from scenes import Kind, Look, scene
from supervised import Classifier, Recipe, train

from kinevec.data import Record, find_records
from kinevec.data.decode import Clip, iter_frames
from kinevec.data.sampling import even_clips
from kinevec.data.whole import write_text
from kinevec.evaluate.encode import ClipEncoder
from kinevec.runtime import provenance
from kinevec.views.pipeline import centre_view

CLIPS = 5  # a video, when judging


@dataclass(frozen=True)
class Trial:
    """What is tried."""

    kind: Kind = "unbiased"
    look: dict[str, Any] = field(default_factory=dict)  # differs from the defaults of `Look`
    changes: tuple[str, ...] = ()  # of the ceiling's configuration


TRIALS: dict[str, Trial] = {
    "black without colour changes": Trial(
        "original", changes=("clip.stride=6", "views.jitter=0", "views.grayscale=0")
    ),
    "textures at stride 6": Trial(changes=("clip.stride=6",)),
    "textures at stride 5": Trial(),
    "strong textures": Trial(look={"texture": 1.0, "light": 0.9}),
    "strong textures for longer": Trial(look={"texture": 1.0, "light": 0.9}, changes=("train.epochs=120",)),
    "stronger textures": Trial(look={"texture": 0.75, "light": 0.75}),
    "faster camera": Trial(look={"drift": 0.006}),
    "larger frames": Trial(changes=("clip.size=80",)),
}


class Memory:
    """Videos in memory, as a source of clips."""

    def __init__(self, videos: Sequence[NDArray[np.uint8]]) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> int:
        """Number of frames of video `index`."""
        return len(self.videos[index])

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        """The frames with these numbers."""
        return Clip(self.videos[index][list(numbers)], tuple(numbers), np.asarray(numbers) / 30)


def run_trial(trial: Trial, records: Sequence[Record], held: str) -> dict[str, Any]:
    """Trains on the others, and scores the person held out.

    Returns:
        What was tried, the accuracy on the person held out in percent, and the minutes it took.
    """
    look = Look(**trial.look)
    labels = sorted({record.label or "" for record in records})
    truth = np.array([labels.index(record.label or "") for record in records])
    videos = []
    for index, record in enumerate(records):
        grey = np.stack([frame[..., 0] for frame in iter_frames(record.path)])
        person: Person = cut_out(grey, look.size, look.margin)
        rng = np.random.default_rng([0, index])
        videos.append(scene(person, look, trial.kind, int(truth[index]), len(labels), "train", rng))
    config = config_of(SUPERVISED, "cpu", {}, 0, trial.changes)
    out = np.array([record.group == held for record in records])
    begun, processor = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        source = Memory([video for video, away in zip(videos, out, strict=True) if not away])
        model = train(
            config, Recipe(), source, truth[~out].tolist(), len(labels), Path(folder) / "run", told=_told
        )
    encode = ClipEncoder(model.encoder, config)
    named = [_named(model, encode, video) for video, away in zip(videos, out, strict=True) if away]
    return asdict(trial) | {
        "look": asdict(look),
        "config": {"clip": asdict(config.clip), "views": asdict(config.views), "train": asdict(config.train)},
        "held": held,
        "accuracy": round(100 * float(np.mean(np.array(named) == truth[out])), 1),
        "minutes": round((time.perf_counter() - begun) / 60, 1),
        "processor minutes": round((time.process_time() - processor) / 60, 1),
    }


def _named(model: Classifier, encode: ClipEncoder, video: NDArray[np.uint8]) -> int:
    """The number of the class that a video is given, its scores averaged over clips."""
    numbers = even_clips(len(video), encode.config.clip, CLIPS)
    frames = centre_view(video, encode.config.clip.size)
    features = torch.from_numpy(encode(np.stack([frames[clip] for clip in numbers])))
    model.eval()
    with torch.no_grad():
        return int(model.head(features).softmax(-1).mean(0).argmax())


def _told(step: int, steps: int, loss: float) -> None:
    print(f"  step {step} of {steps}: loss {loss:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--trials", type=lambda text: text.split(","), default=list(TRIALS))
    parser.add_argument("--held", type=lambda text: text.split(","), default=["s7"])
    arguments = parser.parse_args()
    records = [record for record in find_records(arguments.source) if record.split == "train"]
    found: list[dict[str, Any]] = []
    if arguments.result.is_file():
        found = json.loads(arguments.result.read_text("utf-8"))["trials"]
    for held in arguments.held:
        for name in arguments.trials:
            if any((trial["name"], trial["held"]) == (name, held) for trial in found):
                continue
            print(f"{name}, {held} held out", flush=True)
            found.append({"name": name} | run_trial(TRIALS[name], records, held))
            print(f"  {found[-1]['accuracy']} % in {found[-1]['minutes']} minutes", flush=True)
            content = {
                "kind": "science calibration",
                "trials": found,
                "provenance": provenance(command=False),
            }
            write_text(arguments.result, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
