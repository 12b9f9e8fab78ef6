"""`make bench`: run every benchmark of benchmarks/cost, each in a process of its own, and print its table.

NAME is one of them. With --write the tables of docs/performance.md are written anew too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks import tables
from benchmarks.command import INTERRUPTED
from benchmarks.cost.record import RESULTS
from benchmarks.cost.tables import NAMES, cost_table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    if unknown := [n for n in options.names if n not in NAMES]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    failed = []
    for name in options.names or NAMES:
        print(f"== {name}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"benchmarks.cost.{name}"], check=False).returncode
        if code == INTERRUPTED:
            return code
        if code:
            failed.append(name)
        else:
            print(cost_table(name, RESULTS), flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    return tables.main([f"cost-{n}" for n in options.names or NAMES]) if options.write else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the benchmark has said so
        sys.exit(INTERRUPTED)
