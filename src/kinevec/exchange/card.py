"""The model card of an exported folder: what the encoder is, what it was trained on, what it reaches, how to use it."""

from collections.abc import Mapping, Sequence
from typing import Any

from kinevec.config import Config
from kinevec.encoders import Loaded
from kinevec.evaluate.facts import leaked

SURE = 99.0  # percent; a score that guessing reaches says nothing

FRONT = """---
library_name: kinevec
pipeline_tag: feature-extraction
tags:
- kinevec
- video
- motion
- self-supervised-learning
# license: choose one before you publish this model
---
"""


def card(
    loaded: Loaded, name: str, programs: Mapping[str, float], evaluation: Mapping[str, Any] | None
) -> str:
    """The text of README.md, with front matter as the Hugging Face hub reads it.

    Args:
        name: of the folder.
        programs: exported program's file → the largest difference from PyTorch, as a share of the largest value.
        evaluation: the content of `eval.json`, where there is one.
    """
    parts = [FRONT, f"# {name}\n", _what(loaded), _use(name), _input(loaded.config), _training(loaded)]
    parts += [_evaluation(evaluation)] if evaluation else []
    parts += [_programs(programs)] if programs else []
    parts.append(
        "## Licence\n\nTo be chosen by whoever publishes this model; mind the terms of the videos and weights it comes "
        "from.\n"
    )
    return "\n".join(parts)


def _what(loaded: Loaded) -> str:
    config = loaded.config
    return (
        f"A video encoder, `{config.model.name}` ({loaded.parameters / 1e6:.1f} M parameters): clips of "
        f"{config.clip.frames} frames in, {loaded.encoder.channels} numbers out. Made with kinevec; its identity is "
        f"`{loaded.identity}`.\n"
    )


def _use(name: str) -> str:
    return f"""## Use

```python
import kinevec
model = kinevec.load("{name}")  # this folder, or org/name on the Hugging Face hub
vectors = model.embed(["a.mp4", "b.mp4"]).vectors
```

A row of `vectors` is the mean of the pooled encoder output over 10 clips of a video that are even in time. To compare
videos, subtract the mean of your collection from all rows, then take cosines.
"""


def _input(config: Config) -> str:
    clip, views = config.clip, config.views
    return f"""## Input

{clip.frames} frames, every {_ordinal(clip.stride)} of the video, of which the central square is scaled to
{clip.size} × {clip.size} pixels: RGB. Normalisation of RGB in [0, 1]: mean {_numbers(views.mean)}, standard deviation
{_numbers(views.std)}. kinevec does all this; so do the programs, from uint8 frames.
"""


def _training(loaded: Loaded) -> str:
    facts, train = loaded.facts, loaded.config.train
    text = "## Training\n\n"
    if "origin" in facts:
        random = facts.get("left_random", 0)
        missing = f" **{random} of its entries were missing there and are random.**" if random else ""
        return (
            f"{text}Converted by kinevec from {facts['origin']}; see there for how it was trained.{missing}\n"
        )
    if loaded.step == 0:
        return f"{text}None: this encoder is as it was initialised (seed {train.seed}).\n"
    videos = f"{facts['videos']:,} videos" if "videos" in facts else "videos"
    steps = "" if loaded.step is None else f"{loaded.step:,} steps of "
    epochs = "1 epoch" if train.epochs == 1 else f"{train.epochs:,} epochs"
    terms = loaded.config.terms
    weights = ", ".join(f"`{term}` {getattr(terms, term):g}" for term in terms.names)
    return (
        f"{text}On {videos}, without labels: {steps}a schedule of {epochs}, batches of {train.batch}, seed {train.seed}. "
        f"Terms of the loss and their weights: {weights}. `config.json` has every setting.\n"
    )


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    """The table of scores, but for those that guessing reaches too."""
    scores = {
        name: found for name, found in evaluation.get("scores", {}).items() if isinstance(found, Mapping)
    }
    chance = evaluation.get("chance", {})
    if not scores:
        return "## Evaluation\n\nSee `eval.json`.\n"
    intervals = evaluation.get("intervals", {})
    lines = [f"| | {' | '.join(scores)} | chance |", f"|---|{'---:|' * (len(scores) + 1)}"]
    for row in dict.fromkeys(key for found in scores.values() for key in found):
        if chance.get(row, 0.0) < SURE:
            cells = [
                _score(found.get(row), intervals.get(name, {}).get(row)) for name, found in scores.items()
            ]
            lines.append(f"| {row} | {' | '.join(cells)} | {_score(chance.get(row))} |")
    data = evaluation.get("data", {})
    counts = [f"{data[key]:,} {words}" for key, words in _COUNTED.items() if isinstance(data.get(key), int)]
    level = intervals.get("level")
    notes = [f"On {', '.join(counts)}"] if counts else []
    notes += (
        [f"in brackets {100 * level:.0f} % intervals over test videos"] if isinstance(level, float) else []
    )
    notes += ["all in percent. `eval.json` has the protocol."]
    if doubt := leaked(data):
        notes[-1] += f" **{doubt[0].upper()}{doubt[1:]}: these scores are too high.**"
    return "## Evaluation\n\n" + "\n".join(lines) + f"\n\n{'; '.join(notes)}\n"


def _score(value: float | None, ends: Sequence[float] | None = None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" + (f" ({ends[0]:.1f}–{ends[1]:.1f})" if ends else "")


_COUNTED = {"test": "test videos", "train": "train videos", "classes": "classes"}


def _programs(programs: Mapping[str, float]) -> str:
    lines = [f"| `{name}` | {difference:.0e} |" for name, difference in programs.items()]
    return (
        "## Programs\n\nInput `clips`: uint8 RGB (N, T, S, S, 3), any N. Output `features` (N, C) and `map` "
        "(N, C, T', H', W'), in fp32.\n\n| file | largest difference from PyTorch, of the largest value |\n|---|---:|\n"
        + "\n".join(lines)
        + "\n"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _ordinal(number: int) -> str:
    """1 → "one", else such as "2nd"."""
    if number == 1:
        return "one"
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
