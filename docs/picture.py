"""Draw the README's picture from a run: `python docs/picture.py FOLDER`, of a folder as the tutorial leaves it.

Above, the model's cut: segments as the road, exits leaving it. Below, every frame of frames.jsonl: the budget it had,
and when which exit answered.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from jetson import Bundle
from jetson.files import write_file

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT = 70, 830
TOP, BOTTOM = 215, 385
COLOURS = ("#e8590c", "#2f9e44", "#1c7ed6", "#9c36b5")
"""By exit; they are told apart on light and dark ground, and by their place too."""
STYLE = """
svg { font: 14px system-ui, sans-serif } .card { fill: #fff; stroke: #d0d7de } .ink { fill: #1f2328 }
.soft { fill: #59636e; font-size: 12px } .road { stroke: #8b949e; stroke-width: 30; stroke-linecap: round }
.lane { stroke: #fff; stroke-dasharray: 10 8; stroke-width: 2 } .grid { stroke: #d0d7de }
.budget { fill: #afb8c1; opacity: .45 }
@media (prefers-color-scheme: dark) {
.card { fill: #151b23; stroke: #3d444d } .ink { fill: #f0f6fc } .soft { fill: #9198a1 }
.road { stroke: #656c76 } .lane { stroke: #151b23 } .grid { stroke: #3d444d } .budget { fill: #656c76 } }
"""


def main() -> None:
    """Read the folder, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "offramp.svg")
    chosen = parser.parse_args()
    names = [exit_.name for exit_ in Bundle.open(chosen.folder / "bundle").manifest.exits]
    lines = (chosen.folder / "frames.jsonl").read_text(encoding="utf-8").splitlines()
    frames = [line for line in map(json.loads, lines) if "frame" in line]
    write_file(chosen.out, picture(names, frames))


def picture(names: list[str], frames: list[dict[str, Any]]) -> str:
    """The whole SVG."""
    shares = [sum(f["exit_name"] == name for f in frames) / len(frames) for name in names]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t">',
        f'<title id="t">A ViT with {len(names)} exits, and which answered as the budget went up and down</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12"/>',
        *_road(names, shares),
        *_run(names, frames),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _road(names: list[str], shares: list[float]) -> list[str]:
    """The backbone from left to right, an exit behind each of its segments."""
    y, step = 62, (RIGHT - LEFT - 110) / len(names)
    parts = [
        f'<text class="ink" x="20" y="{y + 5}">frame</text>',
        f'<path class="road" d="M{LEFT + 25} {y}H{LEFT + 30 + step * len(names) - 60:.0f}"/>',
        f'<path class="lane" d="M{LEFT + 25} {y}H{LEFT + 30 + step * len(names) - 60:.0f}"/>',
    ]
    for index, (name, share) in enumerate(zip(names, shares, strict=True)):
        begin, x, colour = LEFT + 30 + step * index, LEFT + 30 + step * (index + 1) - 60, COLOURS[index % len(COLOURS)]
        middle = (begin + x) / 2
        parts += [
            f'<text class="soft" text-anchor="middle" x="{middle:.0f}" y="{y - 24}">segment {index + 1}</text>',
            f'<path d="M{x:.0f} {y}q38 2 46 34l4 18" fill="none" stroke="{colour}" stroke-width="11" '
            'stroke-linecap="round"/>',
            f'<text class="ink" text-anchor="middle" x="{x + 50:.0f}" y="{y + 78}">exit {name}</text>',
            f'<text class="soft" text-anchor="middle" x="{x + 50:.0f}" y="{y + 96}">{share:.0%} of the answers</text>',
        ]
    return parts


def _run(names: list[str], frames: list[dict[str, Any]]) -> list[str]:
    """Budgets as an area, answers as points, on a logarithmic scale of milliseconds."""
    budgets = [float(f["budget_ms"]) for f in frames]
    low = min(f["elapsed_ms"] for f in frames) * 0.9
    high = max(budgets) * 1.15

    def at(index: int, ms: float) -> tuple[float, float]:
        share = math.log(max(low, min(ms, high)) / low) / math.log(high / low)
        return LEFT + (RIGHT - LEFT) * index / (len(frames) - 1), BOTTOM - (BOTTOM - TOP) * share

    edge = " ".join(f"{x:.1f} {y:.1f}" for x, y in (at(i, ms) for i, ms in enumerate(budgets)))
    said = "each frame: the budget it had, and when which exit answered"
    parts = [f'<text class="soft" x="{LEFT}" y="{TOP - 14}">{said}</text>']
    for ms in (m * 10**e for e in range(-2, 4) for m in (1, 2, 5)):
        if low <= ms <= high:
            y = at(0, ms)[1]
            parts += [
                f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>',
                f'<text class="soft" text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{ms:g} ms</text>',
            ]
    parts.append(f'<path class="budget" d="M{LEFT} {BOTTOM}L{edge} {RIGHT} {BOTTOM}z"/>')
    for number, name in enumerate(names):
        points = [at(i, f["elapsed_ms"]) for i, f in enumerate(frames) if f["exit_name"] == name]
        drawn = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        colour = COLOURS[number % len(COLOURS)]
        if drawn:
            parts.append(f'<path d="{drawn}" stroke="{colour}" stroke-width="5" stroke-linecap="round" fill="none"/>')
    late = sum(f["met_deadline"] is False for f in frames)
    said = f"{len(frames)} frames, {late} of them late; the grey area is the budget"
    parts.append(f'<text class="soft" text-anchor="end" x="{RIGHT}" y="{BOTTOM + 24}">{said}</text>')
    return parts


if __name__ == "__main__":
    main()
