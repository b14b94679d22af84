"""The record of a run as tables, and the rates and ratios in it."""

from __future__ import annotations

import math
from typing import Any

from tabulate import tabulate

from cases import Case
from jobs import JOBS
from peers.covariance import PRODUCT

NATIVE = "ovcore native"
OURS = NATIVE, "ovcore"  # what others are compared with; the latter where no kernel has a twin


def in_words(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def number(value: float, digits: int = 3) -> str:
    """So many significant digits, without an exponent: 0.0214, 17,700."""
    if not value:
        return "0"
    behind = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, behind):,.{max(behind, 0)}f}"


def add_rates(record: dict[str, Any]) -> None:
    """To each row: work per second, the share of the machine's limit, and times native's time."""
    for rows in (record["rows"], *record.get("growth", {}).values()):
        native = {
            (row["job"], row["threads"], str(row["case"])): row["seconds"]
            for row in rows
            if row["contestant"] in OURS and not row["problem"]
        }
        for row in rows:
            if row["problem"]:
                continue
            row["rate"] = JOBS[row["job"]].amount(Case(**row["case"])) / row["seconds"]
            row["share_of_limit"] = share_of_limit(row, rows, record["limits"])
            own = native.get((row["job"], row["threads"], str(row["case"])))
            row["times_native"] = row["seconds"] / own if own else None


def share_of_limit(
    row: dict[str, Any], rows: list[dict[str, Any]], limits: dict[int, Any]
) -> float | None:
    """Of the machine's limit on counting bits, reading or products; None where not measured."""
    if not UNITS[row["job"]][2]:
        return None
    alike = [r for r in rows if all(r[k] == row[k] for k in ("job", "threads", "case"))]
    if row["job"] == "covariance":
        product = [r["seconds"] for r in alike if r["contestant"] == PRODUCT and not r["problem"]]
        return product[0] / row["seconds"] if product else None
    if row["job"] in OF_LOGITS:
        reading = [r["beside"]["reading"] for r in alike if r.get("beside")]
        return min(reading) / row["seconds"] if reading else None
    limit = limits.get(row["threads"])
    if limit is None:
        return None
    if row["job"] == "joint errors":
        return row["rate"] / (limit["and_popcount_add_tbit_per_s"] * 1e12)
    megabytes = round(JOBS[row["job"]].amount(Case(**row["case"])) / 1e6)
    return row["rate"] / (limit["read_gb_per_s"][str(megabytes)] * 1e9)


PINNED_TWINS = "scikit-learn", "scikit-learn, BLAS on one thread"
OF_LOGITS = ("pair ensembles", "temperature", "greedy selection")
UNITS = {
    "joint errors": ("Tbit pairs/s", 1e12, "of AND+POPCNT+ADD"),
    "pack errors": ("GB/s", 1e9, "of reading"),
    "joint agreement": ("10^9 pairs of predictions/s", 1e9, None),
    "pair ensembles": ("GB/s", 1e9, "of reading once"),
    "temperature": ("GB/s", 1e9, "of reading once"),
    "greedy selection": ("10^9 candidate scores/s", 1e9, "of reading once"),
    "covariance": ("GFLOP/s", 1e9, "of the product alone"),
    "linear probe": ("probes/s", 1, None),
    "probe path": ("probes/s", 1, None),
    "small probes": ("probes/s", 1, None),
}


def show(record: dict[str, Any]) -> str:
    """All tables, one under the other."""
    parts = [machine(record)]
    cases = dict.fromkeys((row["job"], Case(**row["case"])) for row in record["rows"])
    for job, case in cases:
        of_case = [r for r in record["rows"] if r["job"] == job and Case(**r["case"]) == case]
        parts.append(f"{job}, {case}\n{contest(job, case, of_case)}")
    parts += [growth(axis, rows) for axis, rows in record.get("growth", {}).items()]
    if "memory" in record:
        parts.append(memory(record["memory"]))
    return "\n\n".join(parts)


def machine(record: dict[str, Any]) -> str:
    about = record["machine"]
    lines = [
        f"{about['processor']}, {about['cores']} cores, {about['instruction_set']}; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    ]
    for threads, limit in record["limits"].items():
        reading = ", ".join(f"{mb} MB {rate:.1f}" for mb, rate in limit["read_gb_per_s"].items())
        lines.append(
            f"limit on {in_words(int(threads))}: AND+POPCNT+ADD "
            f"{limit['and_popcount_add_tbit_per_s']:.2f} Tbit/s; reading (GB/s) {reading}"
        )
    if not record["limits"]:
        lines.append("the machine's limit was not measured: no C++ compiler works here")
    if record.get("rebuilt_during_run"):
        lines.append("ovcore was rebuilt during this run: its rows mix two builds, run it again")
    return "\n".join(lines)


def contest(job: str, case: Case, rows: list[dict[str, Any]]) -> str:
    unit, scale, of_limit = UNITS[job]
    lines = []
    for row in sorted(rows, key=lambda r: (r["threads"], bool(r["problem"]), r.get("seconds", 0))):
        line = [row["contestant"], row["threads"]]
        if row["problem"]:
            line += [None] * (4 if of_limit else 3) + [row["problem"]]
        else:
            line += [number(1e3 * row["seconds"], 4), number(row["rate"] / scale)]
            if of_limit:
                share = row["share_of_limit"]
                line.append(f"{number(100 * share)} %" if share else "not measured")
            times = row["times_native"]
            line.append(number(times) if times else None)
            line.append("; ".join(best_of_twins(row, rows) + remarks(row, case)))
        lines.append(line)
    limit = [of_limit] if of_limit else []
    own = next((row["contestant"] for row in rows if row["contestant"] in OURS), NATIVE)
    headers = ["contestant", "threads", "ms", unit, *limit, f"x {own.split()[-1]}", ""]
    align = ["left", *["right"] * (len(headers) - 2), "left"]
    return tabulate(lines, headers, colalign=align, disable_numparse=True)


def best_of_twins(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Says so of the faster of two that differ in the environment alone."""
    twins = [
        r["seconds"]
        for r in rows
        if r["threads"] == row["threads"] and r["contestant"] in PINNED_TWINS and not r["problem"]
    ]
    is_best = row["contestant"] in PINNED_TWINS and len(twins) > 1
    return ["the better of scikit-learn's"] if is_best and row["seconds"] == min(twins) else []


def remarks(row: dict[str, Any], case: Case) -> list[str]:
    """What was measured of a part, how right the answer is, and what was timed beside it."""
    said = [f"{size:,} {axis}, scaled" for axis, size in row["measured"].items()]
    said += [row["answer"]] if row["answer"] else []
    beside = row["beside"]
    if "packing" in beside:
        said.append(
            f"{number(row['seconds'] / beside['reading'])} reads of the logits, "
            f"{number(row['seconds'] / beside['packing'])} x pack_errors"
        )
    if "pair phase" in beside:
        shares = (beside["pair phase"] / beside["reading"], beside["pair phase"] / row["seconds"])
        said.append("pairs alone {:.0%} of a read, {:.0%} of all".format(*shares))
    if "passes" in beside:
        said.append(f"{number(beside['passes'])} passes")
    if row["job"] == "temperature":
        said.append(f"{number(1e9 * row['seconds'] / (case.samples * case.classes))} ns a logit")
    return said


def growth(axis: str, rows: list[dict[str, Any]]) -> str:
    """Times in ms, one line per size, one column per contestant."""
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    cases = sorted({Case(**row["case"]) for row in rows})
    times = {
        (Case(**row["case"]), row["contestant"]): row["problem"] or number(1e3 * row["seconds"])
        for row in rows
    }
    lines = [[f"{getattr(case, axis):,}", *(times[case, name] for name in names)] for case in cases]
    title = f"joint errors, ms on {in_words(rows[0]['threads'])}, {fixed_size(axis, cases[0])}"
    right = ["right"] * (len(names) + 1)
    return f"{title}\n{tabulate(lines, [axis, *names], colalign=right, disable_numparse=True)}"


def fixed_size(axis: str, case: Case) -> str:
    """The size that is the same all along a curve."""
    return f"{case.samples:,} samples" if axis == "models" else f"{case.models:,} models"


def memory(row: dict[str, Any]) -> str:
    if row["problem"]:
        return f"memory: {row['problem']}"
    return (
        f"{NATIVE}, {Case(**row['case'])}: peak memory {row['peak_bytes'] / 1e6:.0f} MB; "
        f"bits and output alone are {row['bits_and_output_bytes'] / 1e6:.0f} MB"
    )
