"""Build the site and look at it: `python docs/build.py`, or `make docs`. Without a network; a warning is an error."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Build into --out, then check links, anchors and that the navigation leads to every page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "_build", help="folder of the site [default: docs/_build]")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)  # a page that is gone must not be found by the check
    sphinx = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-E", "-q"]
    words = [*sphinx, "-d", str(out / ".doctrees"), "-c", str(HERE), str(HERE.parent), str(out)]
    if code := subprocess.run(words, check=False).returncode:
        return code
    (out / "index.html").write_text(MOVED, encoding="utf-8")
    from sitegen.links import problems

    found = problems(out)
    print("\n".join(found) or f"{out / 'index.html'}: every link leads somewhere", file=sys.stderr if found else None)
    return 1 if found else 0


MOVED = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Offramp</title>
<meta http-equiv="refresh" content="0; url=docs/index.html"></head>
<body><p><a href="docs/index.html">Offramp</a></p></body></html>
"""

if __name__ == "__main__":
    sys.exit(main())
