"""Several runs of one configuration that differ by their seed, judged as one."""

from collections.abc import Sequence
from dataclasses import replace

from kinevec.config import INCIDENTAL, differences
from kinevec.encoders import Loaded
from kinevec.errors import InputError
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.facts import DOUBTFUL, UNREAD
from kinevec.evaluate.outcomes import of_the_same, repeated

OTHERWISE = INCIDENTAL | {"train.seed", "views.color_on", "data.store", "flow.store"}


def check_repetitions(encoders: Sequence[Loaded]) -> None:
    """Refuses encoders that are no repetitions of one configuration, or one of them twice.

    Raises:
        InputError: says which, and how they differ.
    """
    first = encoders[0]
    for other in encoders[1:]:
        lines = [
            line
            for line in differences(first.config, other.config)
            if line.partition(":")[0] not in OTHERWISE
        ]
        if first.step != other.step:
            lines.append(f"steps: {first.step} → {other.step}")
        videos = [one.facts.get("videos") for one in (first, other)]
        if None not in videos and videos[0] != videos[1]:
            lines.append(f"videos trained on: {videos[0]} → {videos[1]}")
        if lines:
            raise InputError(
                f"{other.source} was not made as {first.source}, so that their mean says nothing: "
                f"{'; '.join(lines)}. Judge them one by one, and compare them with --against"
            )
    seen: dict[str, str] = {}
    for loaded in encoders:
        if loaded.identity in seen:
            raise InputError(
                f"{loaded.source} holds the same weights as {seen[loaded.identity]}: it is not another seed"
            )
        seen[loaded.identity] = loaded.source


def merged(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The mean over runs on the same videos: mean hits of each test video, spread of the scores over runs.

    Features are not kept. The facts are the first one's, but of counts of doubtful videos (`DOUBTFUL`) the largest;
    and of each run its own, with what its protocols found, under "runs".

    Raises:
        ValueError: they saw different test videos.
    """
    first = evaluations[0]
    names = list(first.outcomes)
    plain = [replace(found.outcomes[name], facts={}) for name in names for found in evaluations]
    same = iter(of_the_same(plain))
    outcomes = {name: repeated([next(same) for _ in evaluations]) for name in names}
    counts = [{key: found.facts["data"].get(key) for key in DOUBTFUL} for found in evaluations]
    most = {
        key: max((count[key] for count in counts if count[key] is not None), default=None) for key in DOUBTFUL
    }
    runs = [
        {
            **found.facts["run"],
            **count,
            "scores": found.scores,
            "found": found.facts["protocol"].get("found", {}),
        }
        for found, count in zip(evaluations, counts, strict=True)
    ]
    kept = next(iter(outcomes.values())).videos
    rejected = {
        **{name: UNREAD for found in evaluations for name in _tested(found) if name not in set(kept)},
        **{
            name: why
            for found in evaluations
            for name, why in found.facts["data"].get("rejected", {}).items()
        },
    }
    data = first.facts["data"] | most | {"test": len(kept), "rejected": rejected}
    protocol = {key: value for key, value in first.facts["protocol"].items() if key != "found"}
    facts = {key: value for key, value in first.facts.items() if key != "run"}
    facts |= {"data": data, "protocol": protocol, "runs": runs}
    scores = {name: found.scores for name, found in outcomes.items()}
    return replace(first, scores=scores, features={}, facts=facts, outcomes=outcomes)


def _tested(found: Evaluation) -> tuple[str, ...]:
    return next(iter(found.outcomes.values())).videos
