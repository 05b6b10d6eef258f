"""The tables of `loader.py` and `scale.py`."""

from typing import Any

NAMES = {"made": "made video", "utd": "UTD-MHAD depth"}


def loader_table(result: dict[str, Any]) -> str:
    """Clips a second of every reader, the length of clips, and the whole loader with its memory."""
    tasks, plain = result["tasks"], f"original: {result['plain']}"
    lines = ["| one core, clips/s | " + " | ".join(_title(task) for task in tasks) + " | wrong frames |"]
    lines.append("|---|" + "---:|" * (len(tasks) + 1))
    for way in next(iter(tasks.values())):
        cells = [_rate(found[way], found[plain]["median"]) for found in tasks.values()]
        lines.append(f"| {way} | " + " | ".join(cells) + f" | {_wrong(result['exact'], way)} |")
    lengths = result["lengths"]
    lines += [
        "",
        "| prepared, two clips at stride 2, clips/s | " + " | ".join(f"{n} frames" for n in lengths) + " |",
    ]
    lines.append("|---|" + "---:|" * len(lengths))
    for reader in next(iter(lengths.values())):
        lines.append(
            f"| {reader} | "
            + " | ".join(f"{found[reader]['median']:.0f}" for found in lengths.values())
            + " |"
        )
    lines += [
        "",
        "| whole loader, prepared | clips/s | of one core | CPU ms a clip | MB a process: own / its share / resident |",
    ]
    lines.append("|---|---:|---:|---:|---:|")
    for task, counts in result["loader"].items():
        for workers, found in counts.items():
            name = f"{task}, {workers} workers" if workers != "0" else f"{task}, no workers: one core"
            sizes = " / ".join(f"{found['memory'][key]:.0f}" for key in ("uss_mb", "pss_mb", "rss_mb"))
            share = found["median"] / counts["0"]["median"]
            lines.append(
                f"| {name} | {_spread(found)} | {share:.2f}× | {found['cpu_ms_a_clip']:.1f} | {sizes} |"
            )
    lines += ["", _loader_note(result)]
    return "\n".join(lines)


def scale_table(result: dict[str, Any]) -> str:
    """Seconds and memory of a large manifest."""
    median = result["median"]
    lines = ["| step | seconds |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in median["seconds"].items()]
    lines += ["", "| process | own MB | its share of shared MB | resident MB |", "|---|---:|---:|---:|"]
    for name, found in median["memory"].items():
        lines.append(f"| {name} | {found['uss_mb']:.0f} | {found['pss_mb']:.0f} | {found['rss_mb']:.0f} |")
    size = result["manifest_mb"]
    lines += [
        "",
        f"{result['rows']:,} rows ({size['parquet']:.0f} MB as Parquet, {size['arrow']:.0f} MB mapped) that point to "
        f"{result['files']} files, {result['workers']} workers; median of {result['repeats']}; "
        f"{result['provenance']['machine']}; commit {result['provenance']['commit']}.",
    ]
    return "\n".join(lines)


def _title(task: str) -> str:
    data, _, name = task.partition(", ")
    return f"{name}, {NAMES[data]}"


def _rate(found: dict[str, float], plain: float) -> str:
    return f"{found['median']:,.0f} ({found['median'] / plain:.1f}×)"


def _spread(found: dict[str, float]) -> str:
    return f"{found['median']:,.0f} ({found['least']:,.0f}–{found['most']:,.0f})"


def _wrong(exact: dict[str, dict[str, dict[str, Any]]], way: str) -> str:
    notes = [found[way] for found in exact.values() if way in found]
    if not notes:
        return ""
    if any(note["failed"] for note in notes):
        return "fails"
    wrong, asked = sum(note["wrong"] for note in notes), sum(note["asked"] for note in notes)
    return f"{wrong} of {asked}" + (f", off by {max(note['off_by'] for note in notes)}" if wrong else "")


def _loader_note(result: dict[str, Any]) -> str:
    made = result["data"]["made"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version)
    absent = f"; not installed: {', '.join(result['absent'])}" if result["absent"] else ""
    return (
        f"Median of {result['repeats']} rounds in which all take turns ({result['samples']} samples of two clips), one "
        f"thread each; in brackets the ratio to the plain way, {result['plain']} from the originals, or the spread. "
        f"Originals: {made['original']['size']}, {made['original']['codec']}, {made['original']['frames']:.0f} frames, a "
        f"key frame every {made['original']['frames_between_keys']:.0f}; prepared: short side {result['short_side']}, a "
        f"key frame every {made['prepared']['frames_between_keys']:.0f}, {made['prepared']['kb_a_frame']} KB a frame. "
        f"{versions}{absent}. {result['provenance']['machine']}; load {result['load_average']['before'][0]:.1f} before; "
        f"commit {result['provenance']['commit']}."
    )
