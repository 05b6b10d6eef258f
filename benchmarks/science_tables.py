"""Tables of the benchmark with real people and controlled backgrounds (benchmarks/science)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats

Result = dict[str, Any]
COLUMNS = {"R@1": "R@1", "linear top-1": "linear"}
SETS = ("unbiased", "biased", "original")
BASE = "moco"  # what the methods are set beside
UNBOUND = ("untrained", "supervised")  # rows of which settings say nothing
ENOUGH = 3  # seeds; a spread of fewer is marked
OWN = "classifier top-1"
BEHIND = "background"  # before a score: of the family of textures, not of the action


def science_table(result: Result) -> str:
    """Every row with every setting on every set: mean ± standard deviation over seeds, in percent."""
    cells = result["cells"]
    sets = [name for name in SETS if any(cell["set"] == name for cell in cells)]
    heads = [f"{name} {short}" for name in sets for short in COLUMNS.values()]
    lines = [
        "| | setting | " + " | ".join([*heads, "steps", "minutes"]) + " |",
        "|---|---|" + "---:|" * (len(heads) + 2),
    ]
    for row, setting, own in _lines(result, cells):
        scores = [
            _spread(c["scores"][score] for c in own if c["set"] == name) for name in sets for score in COLUMNS
        ]
        steps = "–".join(str(n) for n in sorted({cell["steps"] for cell in own}))
        minutes = np.mean([cell["processor minutes"] for cell in own])
        shown = [result["titles"][row], setting, *scores, steps, f"{minutes:.0f}"]
        lines.append("| " + " | ".join(shown) + " |")
    chance = [f"{result['chance'][score]:.1f}" for _ in sets for score in COLUMNS]
    lines.append("| chance | | " + " | ".join([*chance, "", ""]) + " |")
    data, seeds = result["data"], sorted({cell["seed"] for cell in cells})
    classifiers = [
        f"{name} {_spread(c['scores'][OWN] for c in cells if c['set'] == name and OWN in c['scores'])}"
        for name in sets
        if any(c["set"] == name and OWN in c["scores"] for c in cells)
    ]
    ceiling = f" The supervised encoder's own classifier: {', '.join(classifiers)}." if classifiers else ""
    lines += [
        "",
        f"{data['test']} test videos of people never trained on, {data['train']} train videos, {data['classes']} "
        "classes; in bold the setting that the search chose for the method; mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))} (a single number: one seed; (2): two seeds); last step; nothing selected on test but the setting in which all "
        f"rows are compared (below); minutes of one "
        f"processor core, judging included.{ceiling} {_made(cells)}",
    ]
    return "\n".join(lines)


def _lines(result: Result, cells: list[Result]) -> Iterator[tuple[str, str, list[Result]]]:
    """Row, setting as it is shown, and their cells; the chosen setting first and in bold, none where none applies."""
    for row in result["titles"]:
        own = [cell for cell in cells if cell["row"] == row]
        best = result["chosen"].get(result["heads"].get(row, row), "")
        for setting in sorted({cell["setting"] for cell in own}, key=lambda name: (name != best, name)):
            shown = f"**{setting}**" if setting == best else _setting(row, setting)
            yield row, shown, [cell for cell in own if cell["setting"] == setting]


def _setting(row: str, setting: str) -> str:
    return "" if row in UNBOUND else setting


def lead_table(result: Result) -> str:
    """How far rows lie above MoCo with the same setting on the same set, where both have several seeds."""
    by_cell: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for cell in _in_order(result["titles"], result["cells"]):
        by_cell[cell["setting"], cell["set"], cell["row"]].append(cell)
    lines = [
        "| | setting | set | " + " | ".join(COLUMNS.values()) + " | seeds |",
        "|---|---|---|" + "---:|" * (len(COLUMNS) + 1),
    ]
    shown = []
    for (setting, kind, row), own in by_cell.items():
        base = by_cell.get((setting, kind, BASE), [])
        if row in (BASE, *UNBOUND) or min(len(own), len(base)) < ENOUGH:
            continue
        leads = [
            _lead([c["scores"][score] for c in own], [c["scores"][score] for c in base]) for score in COLUMNS
        ]
        cells = [result["titles"][row], setting, kind, *leads, f"{len(own)} and {len(base)}"]
        lines.append("| " + " | ".join(cells) + " |")
        shown += own + base
    lines += [
        "",
        f"Points above {result['titles'][BASE]} with the same setting: difference of the means over seeds, and its 95 % interval "
        "over seeds (Welch's, which takes them for draws from two normal distributions of any spread). Only rows of which, as of "
        f"{result['titles'][BASE]}, there are at least {ENOUGH} seeds. {_made(shown)}",
    ]
    return "\n".join(lines)


def _lead(mine: list[float], theirs: list[float]) -> str:
    """The difference of two means with Welch's 95 % interval."""
    ends = stats.ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    text = f"{np.mean(mine) - np.mean(theirs):+.1f} [{ends.low:+.1f}, {ends.high:+.1f}]"
    return text.replace("-", "−")


def background_table(result: Result) -> str:
    """What features tell of the action beside what they tell of the texture behind, on the unbiased set."""
    own = [
        cell for cell in result["cells"] if cell["set"] == "unbiased" and f"{BEHIND} R@1" in cell["scores"]
    ]
    heads = [f"{what} {short}" for what in ("action", "background") for short in COLUMNS.values()]
    lines = ["| | setting | " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(heads)]
    names = [*COLUMNS, *(f"{BEHIND} {name}" for name in COLUMNS)]
    for row, setting, cells in _lines(result, own):
        shown = [_spread(cell["scores"][name] for cell in cells) for name in names]
        lines.append("| " + " | ".join([result["titles"][row], setting, *shown]) + " |")
    lines += [
        "",
        "The same features of the test videos, asked for the action and for the family of textures behind the person; "
        f"{result['data']['classes']} of either, in percent; mean ± standard deviation over seeds (a single number: one "
        f"seed; (2): two seeds). {_made(own)}",
    ]
    return "\n".join(lines)


def search_table(result: Result) -> str:
    """What each setting reaches with each row, on training people held out; the chosen one in bold."""
    names = list(result["settings"])
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row, title in result["titles"].items():
        if row not in result["mean"]:
            continue
        mean, best = result["mean"][row], result["chosen"][row]
        shown = [f"{mean[name]:.1f}" if name in mean else "" for name in names]
        shown = [f"**{value}**" if name == best else value for name, value in zip(names, shown, strict=True)]
        lines.append(f"| {title} | " + " | ".join(shown) + " |")
    held = sorted({trial["held"] for trial in result["trials"]})
    lines += ["", f"The {result['criterion']} ({', '.join(held)}), unbiased set. {_made(result['trials'])}"]
    return "\n".join(lines)


FIGURES = {
    "static": "survives without motion",
    "appearance_free": "survives without appearance",
    "reversal": "lost when time runs backward",
    "arrow": "tells forward from backward",
    "background": "lost with another background",
    "follows": "follows the new background",
}
UNCLIPPED = {"background"}  # below 0: what is taken for lost is won
PROBE = "linear"


def audit_table(result: Result) -> str:
    """What each encoder's linear probe rests on, in percent: mean ± standard deviation over seeds."""
    audits = result["audits"]
    lines = [
        "| | setting | set | as it is | " + " | ".join(FIGURES.values()) + " |",
        "|---|---|---|" + "---:|" * (len(FIGURES) + 1),
    ]
    cards: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for one in _in_order(result["titles"], audits):
        cards[one["row"], one["setting"], one["set"]].append(one)
    for (row, setting, kind), own in cards.items():
        plain = _spread(one["scores"]["original"]["both"][PROBE]["value"] for one in own)
        cells = [
            _figure([one["figures"].get(key, {}).get(PROBE, {}) for one in own], clipped=key not in UNCLIPPED)
            for key in FIGURES
        ]
        lines.append(
            "| " + " | ".join([result["titles"][row], _setting(row, setting), kind, plain, *cells]) + " |"
        )
    seeds = sorted({one["seed"] for one in audits})
    lines += [
        "",
        f"The linear probe of frozen features on {result['data']['test']} test videos, in percent; "
        f"{result['protocol']['clips']} clips a video; seeds {', '.join(map(str, seeds))} (a single number: one seed; (2): two seeds); "
        f"–: the score as it is does not lie above chance with its whole interval, so that a share of it means "
        f"nothing; below 0: the score rises. Masks: {result['masks']}. {_made(audits)}",
    ]
    return "\n".join(lines)


def looks_table(result: Result) -> str:
    """How features of frames and of motion agree in each encoder: mean ± standard deviation over seeds."""
    heads = {
        "same place": "same place",
        "place alone": "… motion of another video",
        "same time": "same time",
        "follows speed": "activation follows speed",
    }
    lines = ["| | setting | " + " | ".join(heads.values()) + " |", "|---|---|" + "---:|" * len(heads)]
    looks: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for one in _in_order(result["titles"], result["looks"]):
        looks[one["row"], one["setting"]].append(one)
    for (row, setting), every in looks.items():
        # Columns of a row are of the same seeds, where any has them all.
        own = [one for one in every if set(heads) <= set(one)] or every
        shown = [_spread((one[key] for one in own if key in one), 2, "+") for key in heads]
        lines.append("| " + " | ".join([result["titles"][row], _setting(row, setting), *shown]) + " |")
    seeds = sorted({one["seed"] for one in result["looks"]})
    lines += [
        "",
        f"Means over {result['videos']} test videos of the unbiased set; seeds {', '.join(map(str, seeds))} (a single "
        "number: one seed). Same place: cosine of the features of frames and of their differences in the same cell, less "
        "that in others; beside it the same with the differences of another video, which is what place alone makes alike. "
        "Same time: likewise in the same step, less that in steps at the same place within other clips, "
        "of videos that have them. Activation follows speed: correlation over all pixels. "
        f"{_made(result['looks'])}",
    ]
    return "\n".join(lines)


def _in_order(titles: Mapping[str, str], entries: list[Result]) -> list[Result]:
    """By set, row as in the other tables, setting and seed."""
    rows = list(titles)
    return sorted(
        entries,
        key=lambda one: (
            SETS.index(one.get("set", SETS[0])),
            rows.index(one["row"]),
            one["setting"],
            one["seed"],
        ),
    )


def _figure(estimates: list[Result], *, clipped: bool = True) -> str:
    known = [
        one["value"] if clipped else one.get("raw", one["value"])
        for one in estimates
        if one.get("value") is not None
    ]
    return _spread(known) if known and len(known) == len(estimates) else "–"


def calibration_table(result: Result) -> str:
    """How well supervised training does with each look, on training people held out."""
    people = sorted({trial["held"] for trial in result["trials"]})
    lines = [
        "| | set | texture | light | drift | clip | "
        + " | ".join(f"{who} held out" for who in people)
        + " |",
        "|---|---|---:|---:|---:|---|" + "---:|" * len(people),
    ]
    for name in dict.fromkeys(trial["name"] for trial in result["trials"]):
        own = [trial for trial in result["trials"] if trial["name"] == name]
        look, clip, steps = own[0]["look"], own[0]["config"]["clip"], own[0]["config"]["train"]["epochs"]
        of = {trial["held"]: f"{trial['accuracy']:.1f}" for trial in own}
        shape = f"{clip['frames']} × {clip['size']}², stride {clip['stride']}, {steps} epochs"
        shown = " | ".join(of.get(who, "") for who in people)
        texture = [look[key] if own[0]["kind"] != "original" else "" for key in ("texture", "light", "drift")]
        lines.append(
            f"| {name} | {own[0]['kind']} | " + " | ".join(map(str, texture)) + f" | {shape} | {shown} |"
        )
    lines += ["", f"Top-1 of the classifier in percent, one seed; {result['provenance']['machine']}."]
    return "\n".join(lines)


def _spread(values: Iterable[float], digits: int = 1, sign: str = "") -> str:
    found = list(values)
    if not found:
        return ""
    mean = f"{np.mean(found):{sign}.{digits}f}"
    if len(found) == 1:
        return mean
    few = f" ({len(found)})" if len(found) < ENOUGH else ""
    return f"{mean} ± {np.std(found, ddof=1):.{digits}f}{few}"


def _made(cells: list[Result]) -> str:
    machines, commits = (
        sorted({cell["machine"] for cell in cells}),
        sorted({str(cell["commit"]) for cell in cells}),
    )
    return f"{', '.join(machines)}; commit {', '.join(commits)}."
