"""Two evaluations on the same test videos, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kinevec.data.records import some
from kinevec.errors import InputError
from kinevec.evaluate.outcomes import PER_CLASS, TOP5, Floats, hits_behind
from kinevec.evaluate.significance import Difference, paired

Content = Mapping[str, Any]

# Settings that bear on some protocols only.
ABOUT = {
    "k": {"knn"},
    "temperature": {"knn"},
    "shots": {"few-shot"},
    "draws": {"few-shot"},
    "seeds": {"linear", "few-shot", "finetune"},
    "finetune": {"finetune"},
}
# Differences that change no number, or say nothing by themselves.
INCIDENTAL = {"protocols", "finetune.workers", "finetune.seed", "finetune.clips", "finetune.crops"}


@dataclass(frozen=True)
class Comparison:
    """How two encoders differ.

    Attributes:
        first, second: where they lie.
        differences: score → difference.
        notes: what else differs than the encoder, in words.
    """

    first: str
    second: str
    differences: dict[str, Difference]
    notes: list[str]

    @property
    def content(self) -> dict[str, Any]:
        """As JSON knows it."""
        rows = {name: {**asdict(found), "points": found.points} for name, found in self.differences.items()}
        return {"first": self.first, "second": self.second, "notes": self.notes, "differences": rows}


def compare(first: Content, second: Content) -> Comparison:
    """The scores that both have: the first's encoder less the second's, with interval and p-value.

    Args:
        first, second: from `filed.read_evaluation` or `Evaluation.content`. Of each the encoder that was asked for is
            taken, not the untrained one beside it. Test videos may stand in another order.

    Raises:
        InputError: the test videos or their labels differ, or there is no common score.
    """
    a, b = first["outcomes"], second["outcomes"]
    check_videos(dict(zip(a["videos"], a["labels"], strict=True)), second)
    place = {video: i for i, video in enumerate(b["videos"])}
    order = [place[video] for video in a["videos"]]
    mine, theirs = a["hits"][first["judged"]], b["hits"][second["judged"]]
    check_scores(list(mine), second)
    found = differences(
        {name: np.array(hits, np.float64) for name, hits in mine.items()},
        {name: np.array(hits, np.float64)[order] for name, hits in theirs.items()},
        a["labels"],
    )
    return Comparison(source(first), source(second), found, _notes(first, second))


def differences(
    mine: Mapping[str, Floats], theirs: Mapping[str, Floats], labels: Sequence[str]
) -> dict[str, Difference]:
    """The scores that both have, one less the other.

    Args:
        mine, theirs: name of hits, as in `Outcomes.hits` → (V,), of the same videos in the same order.
        labels: (V,).
    """
    return {
        name: paired(
            mine[hits_behind(name)], theirs[hits_behind(name)], labels, per_class=name.endswith(PER_CLASS)
        )
        for hits in mine
        if hits in theirs
        for name in _scores_of(hits)
    }


def source(content: Content) -> str:
    """Where the encoder of an evaluation lay, or the encoders."""
    if named := content.get("named"):
        return str(named)
    runs = content.get("runs") or [content["run"]]
    return ", ".join(str(run["folder"]) for run in runs)


def _scores_of(hits: str) -> list[str]:
    """The scores that some hits make, in the order of `Outcomes.names`."""
    return [hits, f"{hits.removesuffix(TOP5)}{PER_CLASS}"] if hits.endswith(TOP5) else [hits]


def check_scores(mine: Sequence[str], other: Content) -> None:
    """Refuses an evaluation without a common score.

    Args:
        mine: names of hits, as in `Outcomes.hits`.

    Raises:
        InputError: names the scores of both.
    """
    theirs = other["outcomes"]["hits"][other["judged"]]
    if not set(mine) & set(theirs):
        raise InputError(
            f"no common score: one has {', '.join(mine)}; the other {', '.join(theirs)}. Name the same --protocols"
        )


def check_videos(mine: Mapping[str, str], other: Content) -> None:
    """Refuses an evaluation of other test videos.

    Args:
        mine: name → label of the test videos.

    Raises:
        InputError: names some that differ.
    """
    theirs = dict(zip(other["outcomes"]["videos"], other["outcomes"]["labels"], strict=True))
    for these, those, which in ((mine, theirs, "the first"), (theirs, mine, "the second")):
        alone = [video for video in these if video not in those]
        if alone:
            raise InputError(
                f"the test videos differ ({len(mine)} and {len(theirs)}): {len(alone)} only in {which}: "
                f"{some(alone)}. Judge both encoders on the same data"
            )
    renamed = [video for video in mine if mine[video] != theirs[video]]
    if renamed:
        raise InputError(
            f"{len(renamed)} of {len(mine)} test videos have another label: {some(renamed)}. Judge both encoders "
            "on the same data"
        )


def _notes(first: Content, second: Content) -> list[str]:
    """What differs in how the two were judged, as far as it bears on protocols that both have."""
    notes = []
    one, two = first["protocol"], second["protocol"]
    if one.get("train_videos") != two.get("train_videos"):
        notes.append("the training videos, or their labels, differ")
    files = [content.get("data", {}).get("files") for content in (first, second)]
    if all(files) and files[0] != files[1]:
        notes.append(
            "the videos have the same names but are other files (their sizes differ): this compares data as well as encoders"
        )
    clips = [one.get("clip"), two.get("clip")]  # earlier versions did not write it down
    if all(clips) and clips[0] != clips[1]:
        words = " and ".join(f"{c['frames']} × {c['size']}² at stride {c['stride']}" for c in clips if c)
        notes.append(f"the encoders see other clips of the videos: {words}")
    mine, theirs = flat(one["settings"]), flat(two["settings"])
    common = set(mine["protocols"]) & set(theirs["protocols"])
    for key in dict.fromkeys([*mine, *theirs]):
        about = ABOUT.get(key.partition(".")[0], common)
        if mine.get(key) != theirs.get(key) and about & common and key not in INCIDENTAL:
            notes.append(f"{key}: {mine.get(key)} and {theirs.get(key)}")
    return notes


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as key → value; lists and tuples are the same."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = (
                list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            )
    return found
