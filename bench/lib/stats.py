# SPDX-License-Identifier: Apache-2.0
"""From the samples of a run to rows, JSON and a table: medians and spreads, nothing that measures."""
import statistics

SIDES = ("ours", "peer", "limit")
ROW_KEYS = ("name", "unit", "better", "ours", "peer", "limit", "runs", "spread")


def median(values):
    """The median of those that are there, or None."""
    present = [v for v in values if v is not None]
    return statistics.median(present) if present else None


def spread(values):
    """(max - min) / median: 0.1 means that the runs lay within 10 % of each other. None below two values."""
    present = [v for v in values if v is not None]
    middle = median(present)
    return (max(present) - min(present)) / middle if len(present) > 1 and middle else None


def significant(value, digits=4):
    return None if value is None else float(f"{value:.{digits}g}")


def best_method(runs, better):
    """Of runs that each measured several methods, [{method: value}]: (name, median) of the best, or (None, None)."""
    names = sorted({name for run in runs for name in run})
    medians = {name: median([run.get(name) for run in runs]) for name in names}
    if not medians:
        return None, None
    best = (max if better == "higher" else min)(medians, key=medians.get)
    return best, medians[best]


def side_values(row, values):
    """One side's runs as numbers; those of its best method, where a run measured several."""
    if values and isinstance(values[0], dict):
        best = best_method(values, row.better)[0]
        return [v.get(best) for v in values]
    return values


def row_json(row, samples):
    """A row of rows.py and {side: [value of one run, ...]} to the form that --json writes."""
    values = {side: side_values(row, samples.get(side, [])) for side in SIDES}
    return {
        "name": row.name,
        "unit": row.unit,
        "better": row.better,
        **{side: significant(median(values[side])) for side in SIDES},
        "runs": max(len(values[side]) for side in SIDES),
        "spread": significant(spread(values["ours"] or values["peer"]), 2),
    }


def cell(value):
    return "-" if value is None else f"{value:.4g}"


def verdict(row, result):
    """("1.6x the peer", True), with None for a target that these numbers cannot answer; ("", None) without targets."""
    answers = [(target.text, target.met(result)) for target in row.targets]
    known = [met for _, met in answers if met is not None]
    return "; ".join(text for text, _ in answers), (all(known) if known else None)


def table(rows, results):
    """The lines of the printed table."""
    by_name = {r["name"]: r for r in results}
    words = {True: "met", False: "MISSED", None: "-"}
    out = [("row", "unit", "better", "ours", "peer", "limit", "spread", "verdict", "target")]
    for row in rows:
        r = by_name.get(row.name)
        if r is None:
            continue
        text, met = verdict(row, r)
        percent = "-" if r["spread"] is None else f"{r['spread'] * 100:.0f} %"
        out.append((row.name, row.unit, row.better, cell(r["ours"]), cell(r["peer"]), cell(r["limit"]), percent,
                    words[met], text))
    widths = [max(len(line[i]) for line in out) for i in range(len(out[0]))]
    return ["  ".join(word.ljust(w) for word, w in zip(line, widths)).rstrip() for line in out]
