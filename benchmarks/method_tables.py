"""Tables of the methods: how they are judged side by side, what their steps and their flow cost, how terms fall."""

from typing import Any

Result = dict[str, Any]
COLUMNS = ("R@1", "R@5", "R@10", "linear top-1", "linear per class")


def judged_table(results: list[Result]) -> str:
    """Mean ± standard deviation over seeds of each result of `baseline.py`, the untrained encoder and chance."""
    commits = {seed["provenance"]["commit"] for result in results for seed in result["seeds"].values()}
    if len(commits) > 1:
        raise SystemExit(f"results of different commits do not belong into one table: {sorted(commits)}")
    lines = ["| | epochs | " + " | ".join(COLUMNS) + " |", "|---|---:|" + "---:|" * len(COLUMNS)]
    for result in results:
        lines.append(_judged(title(result), result["config"]["train"]["epochs"], result, "trained"))
    lines.append(_judged("untrained encoder", "", results[0], "untrained"))
    first = next(iter(results[0]["seeds"].values()))
    lines.append("| chance | | " + " | ".join(f"{first['chance'][c]:.1f}" for c in COLUMNS) + " |")
    data, seeds = first["data"], results[0]["seeds"]
    lines += [
        "",
        f"{data['test']} test videos, {data['train']} train videos, {data['classes']} classes; mean ± standard "
        f"deviation of {len(seeds)} seeds; last epoch, nothing selected on test; "
        f"{first['provenance']['machine']}; commit {first['provenance']['commit']}.",
    ]
    return "\n".join(lines)


def title(result: Result) -> str:
    """The preset, and that it was made symmetric where the preset is not."""
    symmetric = result["preset"] == "moco" and result["config"]["method"]["symmetric"]
    return f"{result['preset']}, symmetric" if symmetric else str(result["preset"])


def _judged(name: str, epochs: object, result: Result, encoder: str) -> str:
    mean, std = result["mean"][encoder], result["std"][encoder]
    return f"| {name} | {epochs} | " + " | ".join(f"{mean[c]:.1f} ± {std[c]:.1f}" for c in COLUMNS) + " |"


def step_table(result: Result) -> str:
    """Seconds of a step, its ratio to another method's in the same run, and memory."""
    lines = ["| encoder, batch | method | seconds a step | ratio | peak MB |", "|---|---|---:|---:|---:|"]
    for encoder, section in result["encoders"].items():
        for name, row in section["rows"].items():
            ratio = "" if row["compared_with"] == name else f"{row['ratio']:.2f} × {row['compared_with']}"
            lines.append(
                f"| {encoder}, {section['batch']} | {name} | {row['seconds']:.2f} | {ratio} | "
                f"{row['peak_megabytes']:,.0f} |"
            )
    made = result["provenance"]
    lines += [
        "",
        f"Medians of {result['repeats']} interleaved steps; {made['machine']}; commit {made['commit']}.",
    ]
    return "\n".join(lines)


def flow_table(result: Result) -> str:
    """Pairs a second of each flow method, then what flow costs the loader and the disk."""
    sizes = [key for key in next(iter(result["methods"].values())) if "x" in key]
    lines = [
        "| method | "
        + " | ".join(f"pairs/s at {size.replace('x', ' × ')}" for size in sizes)
        + " | error below, px |",
        "|---|" + "---:|" * (len(sizes) + 1),
    ]
    for name, row in result["methods"].items():
        if "absent" in row:
            lines.append(f"| {name} | " + "not measured | " * len(sizes) + " |")
            continue
        rates = " | ".join(f"{row[size]['per_second']:,.0f}" for size in sizes)
        lines.append(f"| {name} | {rates} | {row['end_point_error_below']} |")
    lines += ["", "| loader on one core, prepared files | samples/s | share of flow |", "|---|---:|---:|"]
    for name, row in result["loader"].items():
        lines.append(f"| {name} | {row['per_second']:.0f} | {100 * row['flow_share']:.0f} % |")
    lines += [
        "",
        "| cache at short side | GB an hour of video | frames/s to build, one process |",
        "|---|---:|---:|",
    ]
    for side, row in result["cache"].items():
        lines.append(f"| {side} | {row['gigabytes_an_hour']:.1f} | {row['frames_a_second']:.0f} |")
    made = result["provenance"]
    lines += ["", f"Videos: {result['data']}; one thread; {made['machine']}; commit {made['commit']}."]
    return "\n".join(lines)


def terms_table(result: Result) -> str:
    """Every term over the first and the last tenth of a run, and where the foreground masks lie."""
    lines = ["| method | value | first tenth | last tenth |", "|---|---|---:|---:|"]
    notes = []
    for preset, found in result["presets"].items():
        lines += [
            f"| {preset} | {name} | {found['first'][name]:.2f} | {found['last'][name]:.2f} |"
            for name in found["first"]
        ]
        notes.append(f"{preset} {found['steps']:,} steps in {found['minutes']:.0f} minutes")
        if "foreground" in found:
            iou = {name: f"{row['iou']:.2f}" for name, row in found["foreground"].items()}
            notes.append(
                f"overlap of foreground cells with the silhouette (IoU) {iou['before']} before and {iou['after']} after "
                f"training, of random cells {iou['chance']}"
            )
    made = result["provenance"]
    lines += ["", f"{'; '.join(notes)}; one seed; {made['machine']}; commit {made['commit']}."]
    return "\n".join(lines)
