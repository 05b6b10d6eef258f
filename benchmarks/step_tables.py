"""The tables of docs/speed.md, from the result of `step.py`."""

from typing import Any

Result = dict[str, Any]
ENCODER = "query encoder"


def speed_table(result: Result) -> str:
    """Rates and ratios of every variant, then the parts of a step."""
    lines = [
        "| encoder, batch | | clips/s | plain ÷ ours | GFLOP/s | of the bf16 peak | of the fp32 peak | peak MB |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for section in result["encoders"].values():
        lines += [
            f"| {section['title']}, {section['batch']} | {name} | " + _rates(name, row, section)
            for name, row in section["rows"].items()
            if row["way"] in ("ours", "plain")
        ]
    lines += _tried(result)
    lines += _parts(result, "share of a step in %", methods=True)
    lines += _parts(result, "share of the query encoder's forward and backward in %", methods=False)
    return "\n".join([*lines, "", _note(result)])


def _tried(result: Result) -> list[str]:
    """Ways that were left, and the time they take as a multiple of ours."""
    lines = [
        f"| {section['title']}, {section['batch']} | {name} | {row['ratio']:.2f} × {row['compared_with']} |"
        for section in result["encoders"].values()
        for name, row in section["rows"].items()
        if row["way"] not in ("ours", "plain")
    ]
    return ["", "| tried | | time |", "|---|---|---:|", *lines] if lines else []


def _rates(name: str, row: dict[str, Any], section: dict[str, Any]) -> str:
    plain = section["rows"].get(f"{name}, plain")
    ratio = f"{plain['ratio']:.2f}" if plain else ""
    return (
        f"{row['clips_per_second']:.1f} | {ratio} | {row['flops_per_second'] / 1e9:,.0f} | "
        f"{100 * row['share_of_bf16_peak']:.0f} % | {100 * row['share_of_fp32_peak']:.0f} % | "
        f"{row['peak_megabytes']:,.0f} |"
    )


def _parts(result: Result, title: str, *, methods: bool) -> list[str]:
    """The parts of the steps of methods, or the kinds of work of encoders alone."""
    rows = [
        (f"{section['title']}, {section['batch']}" + (f" | {name}" if methods else ""), row["parts"])
        for section in result["encoders"].values()
        for name, row in section["rows"].items()
        if row["parts"] and (name == ENCODER) != methods
    ]
    parts = list(dict.fromkeys(part for _, shares in rows for part in shares))
    head = f"| {title} |" + (" |" if methods else "")
    lines = [f"{head} {' | '.join(parts)} |", "|---|" + ("---|" if methods else "") + "---:|" * len(parts)]
    for name, shares in rows:
        lines.append(f"| {name} | " + " | ".join(f"{100 * shares.get(part, 0):.1f}" for part in parts) + " |")
    return ["", *lines] if rows else []


def _note(result: Result) -> str:
    rows = [row for section in result["encoders"].values() for row in section["rows"].values()]
    peaks = {kind: sorted(row["matmul"][kind] / 1e9 for row in rows) for kind in ("bf16", "fp32")}
    inside = {
        section["title"]: section["rows"][ENCODER]
        for section in result["encoders"].values()
        if ENCODER in section["rows"]
    }
    zeros = ", ".join(
        f"{title} {100 * (1 - row['flops_inside'] / row['flops']):.0f} %" for title, row in inside.items()
    )
    made = result["provenance"]
    return (
        f"Medians of {result['repeats']} interleaved steps. Matrix products in the same turns: bf16 "
        f"{_span(peaks['bf16'])}, fp32 {_span(peaks['fp32'])} GFLOP/s. Operations are those that PyTorch counts; of a "
        f"query encoder's, products with padding are {zeros}, which a kernel may leave out. {made['machine']}; load "
        f"{result['load_average']:.1f} before; commit {made['commit']}."
    )


def _span(values: list[float]) -> str:
    return f"{values[0]:,.0f} to {values[-1]:,.0f}"
