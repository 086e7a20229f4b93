#!/usr/bin/env python3
"""Draws a report of tests/bench/bench.py: bars as SVG, tables as Markdown. SPDX-License-Identifier: Apache-2.0

  make bench-kernels BENCH_FLAGS='--json report.json'
  doc/draw-benchmarks.py report.json --svg doc/benchmarks.svg --markdown figures.md

A bar is pare's speed over a peer's, so that 1 is as fast as the peer; the mark on it is the aim."""

import argparse
import json
import math
from html import escape

WIDTH, RIGHT, ROW, TOP = 980, 56, 26, 58
BAR, MISSED, INK, SOFT, PAPER = "#2b6cb0", "#c05621", "#1a202c", "#718096", "#ffffff"
LEAST, MOST = 0.25, 32.0  # ends of the axis, which is logarithmic
LETTER = 6.6  # width of a letter of a label, at most on average


def bars(report):
    """(title, peer, ratio, target) of every comparison that was made."""
    for group in report["groups"]:
        for result in group["results"]:
            if result["ratio"] is not None:
                yield group["title"], result["peer"], result["ratio"], result["target"]


def across(ratio, left):
    """The place of a ratio on the axis, which begins at left."""
    share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return left + share * (WIDTH - left - RIGHT)


def text(x, y, content, size=13, fill=INK, anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )


def draw(report):
    found = list(bars(report))
    machine = report["machine"]
    bottom = TOP + ROW * len(found) + 8
    height = bottom + 54
    left = 16 + LETTER * max((len(title) + 3 + len(peer) for title, peer, _, _ in found), default=40)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="sans-serif" role="img">',
        "<title>Speed of pare relative to other libraries</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        text(16, 24, "Speed of pare relative to other libraries", 16, weight="bold"),
        text(16, 43, f"{machine['cpu']}, {machine['cores']} cores, {report['date'].split()[0]}", 12, SOFT),
    ]
    tick = LEAST
    while tick <= MOST:
        x = across(tick, left)
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{bottom}" stroke="{INK if tick == 1 else "#e2e8f0"}" '
            f'stroke-width="{1.5 if tick == 1 else 1}"/>'
        )
        parts.append(text(x, bottom + 18, f"{tick:g}x", 11, SOFT, "middle"))
        tick *= 2
    for i, (title, peer, ratio, target) in enumerate(found):
        y, begin, end = TOP + ROW * i, across(1.0, left), across(ratio, left)
        fill = MISSED if target is not None and ratio < target else BAR
        if i == 0 or title != found[i - 1][0]:
            parts.append(text(16, y + 17, title, 12))
        parts.append(text(left - 12, y + 17, peer, 12, SOFT, anchor="end"))
        parts.append(
            f'<rect x="{min(begin, end):.1f}" y="{y + 5}" width="{abs(end - begin):.1f}" height="{ROW - 10}" '
            f'fill="{fill}"/>'
        )
        if target is not None:
            x = across(target, left)
            parts.append(
                f'<line x1="{x:.1f}" y1="{y + 2}" x2="{x:.1f}" y2="{y + ROW - 2}" stroke="{INK}" stroke-width="2" '
                'stroke-dasharray="3 2"/>'
            )
        x = max(begin, end, across(target or LEAST, left)) + 6
        parts.append(text(x, y + 17, f"{ratio:.2f}x", 12, weight="bold"))
    legend = "One is as fast as the peer. Dashes: the aim; orange: an aim that is missed."
    parts.append(text(16, height - 12, legend, 12, SOFT))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def cell(figure):
    if "missing" in figure:
        return "missing"
    rate = f"{figure['rate']:.1f}"
    return f"{rate} ({figure['ratio']:.2f}x)" if "ratio" in figure else rate


def tables(report):
    machine = report["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {report['date']}; "
        f"medians of {report['rounds']} rounds of {report['slice_seconds']:g} s.",
        "",
    ]
    for group in report["groups"]:
        names = [figure["name"] for figure in group["rows"][0]["sides"]] if group["rows"] else []
        lines += [f"### {group['title']} ({group['unit']})", ""]
        lines += ["| problem | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for row in group["rows"]:
            lines.append(f"| {row['problem']} | " + " | ".join(cell(figure) for figure in row["sides"]) + " |")
        lines.append("")
        for result in group["results"]:
            ratio = "missing" if result["ratio"] is None else f"{result['ratio']:.2f}x"
            asked = "" if result["target"] is None else f"; asked {result['target']:.2f}x"
            lines.append(f"- {group['aggregate']} against {result['peer']}: {ratio}{asked}")
        lines.append("")
    if report["latencies"]:
        lines += ["### Latencies", "", "| | seconds | asked |", "|---|---|---|"]
        for entry in report["latencies"]:
            seconds = "missing" if "missing" in entry else f"{entry['seconds']:.3g}"
            lines.append(f"| {entry['title']} | {seconds} | {entry['limit_seconds']:g} |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("report", help="what bench.py --json wrote")
    parser.add_argument("--svg", help="file of the picture")
    parser.add_argument("--markdown", help="file of the tables")
    options = parser.parse_args()
    with open(options.report, encoding="utf-8") as source:
        report = json.load(source)
    for path, content in ((options.svg, draw), (options.markdown, tables)):
        if path:
            with open(path, "w", encoding="utf-8") as out:
                out.write(content(report))


if __name__ == "__main__":
    main()
