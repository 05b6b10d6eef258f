"""How an evaluation was made: what stands in its JSON beside the numbers."""

from collections.abc import Mapping
from typing import Any

from kinevec.config import to_dict
from kinevec.encoders import Loaded
from kinevec.evaluate.features import Features
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.protocols import Settings
from kinevec.evaluate.result import files_fingerprint, train_fingerprint


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
        features: of all its videos.
        outcomes: encoder → what was found.
        counted: further counts of videos by name, of doubtful ones; None where that is not known.
    """
    config = loaded.config
    train = features.split("train").collection
    return {
        "task": f"protocols: {', '.join(settings.protocols)}",
        "data": {
            "train": len(train),
            "test": len(features.split("test").collection),
            "classes": len(set(features.labels) - {""}),
            "files": files_fingerprint(features.collection.records),
            "rejected": {item.name: item.reason for item in features.collection.rejected},
            **counted,
        },
        "protocol": {
            "clips": settings.clips,
            "crops": settings.crops,
            "view": "central square" if settings.crops == 1 else "squares along the longer side",
            "selected_on": "nothing (last step); the probe's penalty on held-out train videos",
            "train_videos": train_fingerprint(train.records),
            "settings": to_dict(settings),
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
