# SPDX-License-Identifier: GPL-2.0-only
"""
stats: contenders that take turns, and what is said of them.

A round runs every contender once, in an order that changes from round to round. Ratios are made within a round,
between runs a few milliseconds apart, so that what else the machine does falls on both; the median of the rounds'
ratios is the figure, and the spread is where the middle half of them lies.
"""

import json
import os
import random
import statistics


def rounds(names, run, count):
    """{name: [run(name) of each round]}."""
    results = {name: [] for name in names}
    order = list(names)
    shuffled = random.Random(1)
    for _ in range(count):
        shuffled.shuffle(order)
        for name in order:
            results[name].append(run(name))
    return results


def quartiles(values):
    if len(values) < 2:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def net_of(results, base):
    """Every round's value less that round's base."""
    return {name: [value - zero for value, zero in zip(values, results[base])]
            for name, values in results.items() if name != base}


def against(results, name, reference):
    """Quartiles of the rounds' ratios."""
    return quartiles([a / b for a, b in zip(results[name], results[reference]) if b > 0])


class Report:
    """Rows of figures, printed as they come, and written as JSON."""

    def __init__(self, name):
        self.name = name
        self.rows = []

    def head(self, text):
        print(f"\n{text}", flush=True)

    def add(self, case, contender, unit, values, reference=None, ratios=None, limit=None, more_is_better=False):
        low, middle, high = quartiles(values)
        row = {"case": case, "contender": contender, "unit": unit, "median": middle, "low": low,
               "high": high, "rounds": len(values)}
        line = f"  {contender:<42}{middle:>11,.1f} {unit:<11}"
        if len(values) > 1:
            line += f" {low:>10,.1f} … {high:<10,.1f}"
        if ratios:
            row |= {"against": reference, "ratio": ratios[1], "ratio_low": ratios[0],
                    "ratio_high": ratios[2]}
            line += f" {ratios[1]:>6.2f} × {reference}  ({ratios[0]:.2f} … {ratios[2]:.2f})"
        if limit is not None:  # of the ratio where there is one, else of the value itself
            figure = ratios[1] if ratios else middle
            reached = figure >= limit if more_is_better else figure <= limit
            row |= {"limit": limit, "reached": reached}
            line += f"  {'≥' if more_is_better else '≤'} {limit:g}: {'yes' if reached else 'NO'}"
        print(line, flush=True)
        self.rows.append(row)

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"{self.name}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"kernel": os.uname().release, "rows": self.rows}, file, indent=1)
        return path
