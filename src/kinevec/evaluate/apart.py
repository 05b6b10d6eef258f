"""Encoders that were judged in one pass, apart: each as if it had been judged by itself."""

from collections.abc import Mapping
from dataclasses import replace

from kinevec.encoders import Loaded
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.facts import facts_of
from kinevec.evaluate.outcomes import BEFORE, TRAINED
from kinevec.evaluate.protocols import Settings


def apart(result: Evaluation, encoders: Mapping[str, Loaded], settings: Settings) -> dict[str, Evaluation]:
    """Of each encoder the evaluation that it would have got alone, beside the untrained one.

    Args:
        result: of all of them, with its features.
        encoders: name in `result` → encoder. All were trained on the same videos: the counts of doubtful test videos
            are those of the first.
        settings: of the evaluation.
    """
    found = {}
    for name, loaded in encoders.items():
        names = {TRAINED: name} | ({BEFORE: BEFORE} if BEFORE in result.outcomes else {})
        outcomes = {new: result.outcomes[old] for new, old in names.items()}
        facts = facts_of(loaded, result.features[name], settings, outcomes, {})
        found[name] = replace(
            result,
            scores={new: result.scores[old] for new, old in names.items()},
            features={new: result.features[old] for new, old in names.items()},
            outcomes=outcomes,
            facts=result.facts | facts | {"data": result.facts["data"]},
        )
    return found
