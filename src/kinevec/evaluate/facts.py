"""How an evaluation was made: what stands in its JSON beside the numbers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinevec.config import to_dict
from kinevec.encoders import Loaded
from kinevec.evaluate.features import Features
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.protocols import Settings
from kinevec.evaluate.result import files_fingerprint, train_fingerprint
from kinevec.train.checkpoint import BEST_ENCODER
from kinevec.train.loop import FACTS

DOUBTFUL = ("test_seen_in_training", "test_copies_of_training")  # counts of test videos
UNREAD = "read once, and not again when it was needed"


def facts_of(
    loaded: Loaded,
    features: Features,
    settings: Settings,
    outcomes: dict[str, Outcomes],
    counted: Mapping[str, int | None],
) -> dict[str, Any]:
    """Data, protocol and encoder of an evaluation, as JSON knows them.

    Args:
        loaded: the encoder that was asked for.
        features: of all its videos; where there are outcomes, those without a label are only counted.
        outcomes: encoder → what was found, of the same test videos.
        counted: further counts of videos by name, of doubtful ones; None where that is not known.
    """
    config = loaded.config
    scored = features.only(lambda record: bool(record.label)) if outcomes else features
    train, test = (scored.split(name).collection for name in ("train", "test"))
    found = set(next(iter(outcomes.values())).videos) if outcomes else set(test.names())
    rejected = {item.name: item.reason for item in features.collection.rejected}
    return {
        "task": f"protocols: {', '.join(settings.protocols)}",
        "data": {
            "train": len(train),
            "test": len(found),
            "classes": len(set(scored.labels) - {""}),
            "unlabelled": len(features.collection) - len(scored.collection),
            "files": files_fingerprint(features.collection.records),
            "rejected": rejected | dict.fromkeys((n for n in test.names() if n not in found), UNREAD),
            **counted,
        },
        "protocol": {
            "clips": settings.clips,
            "crops": settings.crops,
            "view": "central square" if settings.crops == 1 else "squares along the longer side",
            "clip": to_dict(config.clip),
            "selected_on": _selected_on(loaded)
            + ("; the probe's penalty on held-out train videos" if "linear" in settings.protocols else ""),
            "train_videos": train_fingerprint(train.records),
            "settings": to_dict(replace(settings, finetune=settings.tuning(settings.seeds[0]))),
            "found": {encoder: dict(found.facts) for encoder, found in outcomes.items()},
        },
        "run": {
            "folder": loaded.source,
            "encoder": config.model.name,
            "identity": loaded.identity,
            "terms": config.terms.names,
            "step": loaded.step,
            "seed": config.train.seed,
        },
    }


def leaked(data: Mapping[str, Any]) -> str:
    """How many test videos an encoder was trained on, in words; "" where there were none, or nothing is known.

    Args:
        data: what an evaluation says of its videos, with the counts of `DOUBTFUL`.
    """
    seen, copies = (data.get(key) or 0 for key in DOUBTFUL)
    of = f" of {data.get('test', '?')} test videos"
    words = [f"{seen}{of} were trained on (without labels)"] if seen else []
    words += [f"{copies}{'' if seen else of} are copies of videos that were trained on"] if copies else []
    return ", ".join(words)


def _selected_on(loaded: Loaded) -> str:
    """What the encoder was chosen by, among those of its run."""
    place = Path(loaded.source)
    if place.name == BEST_ENCODER:
        return "the lowest training loss (best epoch)"
    folder = place.parent if place.is_file() else place
    if loaded.step == 0 or (folder / FACTS).is_file():
        return "nothing (last step)"
    return "not known how the encoder was chosen"
