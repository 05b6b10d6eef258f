"""Several runs of one configuration that differ by their seed, judged as one."""

from collections.abc import Sequence
from dataclasses import replace

from kinevec.config import INCIDENTAL, differences
from kinevec.encoders import Loaded
from kinevec.errors import InputError
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.outcomes import repeated

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

    Features are not kept. The facts are the first one's, and of each run its own under "runs".

    Raises:
        ValueError: they saw different test videos.
    """
    first = evaluations[0]
    outcomes = {name: repeated([found.outcomes[name] for found in evaluations]) for name in first.outcomes}
    runs = [{**found.facts["run"], "scores": found.scores} for found in evaluations]
    facts = {key: value for key, value in first.facts.items() if key != "run"} | {"runs": runs}
    scores = {name: found.scores for name, found in outcomes.items()}
    return replace(first, scores=scores, features={}, facts=facts, outcomes=outcomes)
