"""Why a search found nothing, in words: which filter leaves no clip, and what there is to choose from."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from kinevec.errors import InputError
from kinevec.search.catalogue import count, facets
from kinevec.search.filters import Filter
from kinevec.search.index import Index

SHOWN = 10  # values that are listed of those that could have been asked for
# Of a filter → of facets(), and in words.
FACETS = {
    "folder": ("folder", "folders"),
    "labels": ("label", "labels"),
    "splits": ("split", "splits"),
    "cluster": ("cluster", "groups"),
}


def check_filter(index: Index, only: Filter | None) -> None:
    """Refuses a filter by group where no groups were made.

    Raises:
        InputError: says how to make them.
    """
    if only is None or only.cluster is None:
        return
    if not index.store.query("SELECT 1 FROM clips WHERE cluster IS NOT NULL LIMIT 1"):
        raise InputError(
            f"{index.folder}: its clips were not put into groups yet, so none is in group {only.cluster}; "
            f"run `kinevec cluster {index.folder}` first"
        )


def why_nothing(index: Index, only: Filter | None, offset: int) -> str:
    """Why there is no row: one line, with numbers.

    Args:
        only, offset: as they were asked for.
    """
    total = len(index)
    if not total:
        return f"{index.folder} holds no clips; `kinevec embed` adds some."
    left = count(index, only)
    if left and offset:
        return f"The {left:,} clips to choose from make no more than {offset:,} rows; lower the offset."
    if left:
        return (
            f"All {left:,} clips to choose from show what the query shows: clips that overlap it are left out, and its "
            "whole video where only other videos are asked for."
        )
    each = _alone(only or Filter())
    numbers = {name: count(index, one) for name, one in each.items()}
    empty = [name for name, number in numbers.items() if not number]
    if not empty:
        parts = ", ".join(f"{_asked(name, each[name])}: {numbers[name]:,}" for name in each)
        return f"No clip of {total:,} satisfies all filters together ({parts})."
    known = facets(index)
    return " ".join(
        f"No clip of {total:,} has {_asked(name, each[name])}{_there_is(index, name, known)}."
        for name in empty
    )


def _alone(only: Filter) -> dict[str, Filter]:
    """Name of what is asked for → a filter that asks for nothing else."""
    given = {field.name: getattr(only, field.name) for field in fields(only)}
    return {
        name: replace(Filter(), **{name: value}) for name, value in given.items() if value != _default(name)
    }


def _default(name: str) -> Any:
    return getattr(Filter(), name)


def _asked(name: str, one: Filter) -> str:
    """What a filter of one kind asks for."""
    value = getattr(one, name)
    if name in ("labels", "splits"):
        values = " or ".join(f"'{item}'" for item in value)
        return f"the {name[:-1]} {values}"
    words = {
        "folder": f"a video in the folder '{value}'",
        "text": f"'{value}' in the name of its video",
        "after": f"a start at {value} s or later",
        "before": f"an end at {value} s or earlier",
        "cluster": f"the group {value}",
        "video": f"the video number {value}",
    }
    return words[name]


def _there_is(index: Index, name: str, known: Mapping[str, Mapping[str, int]]) -> str:
    """What could have been asked for."""
    if name in FACETS:
        facet, words = FACETS[name]
        return "; there " + _listed(words, known[facet])
    if name in ("after", "before"):
        first, last = index.store.query("SELECT min(stop), max(start) FROM clips")[0]
        return f"; the first clip ends at {first:.2f} s, the last begins at {last:.2f} s"
    example = index.store.query("SELECT name FROM videos ORDER BY name LIMIT 1")[0][0]
    return f"; names are like '{example}'" if name == "text" else ""


def _listed(what: str, values: Mapping[str, int]) -> str:
    """Values and their numbers of clips, the most frequent first."""
    named = {value: number for value, number in values.items() if value}
    if not named:
        return f"are no {what}"
    ranked = sorted(named, key=lambda value: -named[value])
    shown = ", ".join(f"{value} ({named[value]:,})" for value in ranked[:SHOWN])
    more = len(ranked) - SHOWN
    return f"are the {what} {shown}" + (f" and {more:,} more" if more > 0 else "")
