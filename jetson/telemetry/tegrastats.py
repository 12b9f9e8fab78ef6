"""tegrastats, which every JetPack brings: what its lines say.

Fields come and go from release to release and from board to board, so each is looked for on its own and a line is taken
for what is in it. docs/guide/power.md names the boards and releases whose lines the tests read.
"""

from __future__ import annotations

import re

from jetson.telemetry.reading import Reading

RAM = re.compile(r"\bRAM \d+/\d+MB\b")
"""Stands in the lines of every release, and in nothing else that tegrastats prints."""
CORES = re.compile(r"\bCPU \[([^\]]*)\]")
CORE = re.compile(r"\d+%@(\d+)$")
GPU = re.compile(r"\bGR3D_FREQ (?:\d+%)?@(?:\[([\d, ]+)\]|(\d+))")
"""`0%@1109`, `0%@[305,305]` with a clock for each part of the GPU, `@[314,314,314]` without a load. `0%` alone tells no
clock."""
ZONE = re.compile(r"(?:^|\s)([A-Za-z][\w.-]*)@(-?\d+(?:\.\d+)?)C(?:/-?\d+(?:\.\d+)?C)?(?=\s|$)")
RAIL = re.compile(r"(?:^|\s)([A-Z][A-Z0-9_]*) (-?\d+)(mW)?/-?\d+(?:mW)?(?:/-?\d+(?:mW)?)?(?=\s|$)")
"""Now, on average, and since JetPack 7 the most: `VDD_IN 2763mW/2846mW`; up to JetPack 4 without a unit. RAM, SWAP and
IRAM are pairs too, whose second figure has its unit at once."""
NOT_CONNECTED = "NC"


def parse(line: str, at: float) -> Reading | None:
    """Read one line; None for what is none.

    Args:
        line: as tegrastats prints it, with a date before it or without.
        at: when it came.
    """
    if not RAM.search(line):
        return None
    cores = CORES.search(line)
    clocks = [CORE.search(word.strip()) for word in cores[1].split(",")] if cores else []
    gpu = GPU.search(line)
    gpu_mhz = max(float(f) for f in (gpu[1] or gpu[2]).split(",")) if gpu else 0.0
    return Reading(
        at=at,
        rails_w={name: int(mw) / 1e3 for name, mw, _ in RAIL.findall(line) if name != NOT_CONNECTED},
        temperatures_c={name: float(c) for name, c in ZONE.findall(line)},
        cpu_mhz=tuple(float(c[1]) for c in clocks if c),
        gpu_mhz=gpu_mhz or None,
    )
