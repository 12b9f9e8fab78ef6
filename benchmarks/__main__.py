"""`make bench`: run every benchmark, print a table, and write benchmarks/results/NAME.json."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from pathlib import Path

from benchmarks.overhead import run
from benchmarks.paired import table
from jetson.files import write_file


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", default="tiny", choices=["tiny", "small", "base"])
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--cuts", type=int, nargs="+", default=[1, 4, 12])
    parser.add_argument("--threads", type=int, default=1, help="one number a process: ONNX Runtime has one pool")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "overhead.json")
    options = parser.parse_args()
    ratios = []
    for cuts in options.cuts:
        ratios += run(options.size, options.image, options.patch, cuts, options.threads, options.pairs)
    print(table(ratios))
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    found = {"settings": settings, "machine": platform.machine(), "ratios": [dataclasses.asdict(r) for r in ratios]}
    write_file(options.out, json.dumps(found, indent=1) + "\n")
    print(f"-> {options.out}")


if __name__ == "__main__":
    main()
