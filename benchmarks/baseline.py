"""Pretrain a preset on a labelled folder with several seeds and record how it is judged.

    python benchmarks/baseline.py moco FOLDER results/NAME.json [--seeds 0 1 2] [--set section.key=value ...]

Training sees the train split without labels; the test split is scored once, at the last epoch. Seeds that
the result file already holds, made with the same data, configuration and commit, are kept.
"""

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path

import numpy as np

from kinevec import config as configuration
from kinevec.data.whole import write_text
from kinevec.evaluate.evaluation import evaluate
from kinevec.runtime import provenance
from kinevec.tasks import open_collection
from kinevec.train.loop import pretrain

Scores = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset")
    parser.add_argument("data", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", dest="changes", action="append", default=[])
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    base = configuration.load(arguments.preset, arguments.changes)
    settings = configuration.to_dict(base)
    result = {"data": arguments.data.name, "preset": arguments.preset, "config": settings, "seeds": {}}
    if arguments.result.exists():
        old = json.loads(arguments.result.read_text("utf-8"))
        commits = {seed["provenance"]["commit"] for seed in old["seeds"].values()}
        same = json.dumps([old["data"], old["config"]]) == json.dumps([result["data"], settings])
        if not same or commits != {provenance()["commit"]}:
            raise SystemExit(
                f"{arguments.result} was made with other data, settings or code: move it away first"
            )
        result["seeds"] = old["seeds"]
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        if str(seed) in result["seeds"]:
            continue
        result["seeds"][str(seed)] = run_seed(arguments.preset, arguments.changes, seed, arguments.data)
        result |= summary(result["seeds"])
        write_text(arguments.result, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        for encoder, scores in result["mean"].items():
            print(seed, encoder, {name: round(value, 1) for name, value in scores.items()}, flush=True)


def run_seed(preset: str, changes: list[str], seed: int, data: Path) -> dict[str, object]:
    """Trains and judges with one seed."""
    config = configuration.load(preset, [*changes, f"train.seed={seed}"])
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        begun = time.perf_counter()
        train = open_collection(data, config, split=config.data.split)
        pretrain(config, train, run)
        minutes = (time.perf_counter() - begun) / 60
        found = evaluate(run, open_collection(data, config))
    return {
        "scores": found.scores,
        "chance": found.chance,
        "data": found.facts["data"],
        "protocol": found.facts["protocol"],
        "minutes": round(minutes, 1),
        "provenance": provenance(command=False),
    }


def summary(seeds: dict[str, dict[str, Scores]]) -> dict[str, Scores]:
    """Mean and standard deviation (n − 1) over seeds of every score."""
    runs = [seed["scores"] for seed in seeds.values()]
    result: dict[str, Scores] = {"mean": {}, "std": {}}
    for encoder, scores in runs[0].items():
        values = {name: [run[encoder][name] for run in runs] for name in scores}
        result["mean"][encoder] = {name: float(np.mean(value)) for name, value in values.items()}
        spread = {
            name: float(np.std(value, ddof=1)) if len(value) > 1 else 0.0 for name, value in values.items()
        }
        result["std"][encoder] = spread
    return result


if __name__ == "__main__":
    main()
