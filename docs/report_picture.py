"""Draw the guide's picture of a report: `python docs/report_picture.py FOLDER`, of a run's folder.

The first screen of its page, in light, as Chromium shows it (playwright, of the `test` extra).
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from jetson.files import write_file
from toolkit.report import write_report

WIDTH, HEIGHT, COLOURS = 1280, 800, 128


def main() -> None:
    """Write the page, look at it, keep the picture in a few colours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "report.png")
    parser.add_argument("--browser", help="Chromium's executable [default: playwright's own]")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(chosen.folder, Path(folder) / "report.html")
        write_file(chosen.out, in_few_colours(screenshot(page, chosen.browser)))


def screenshot(page: Path, executable: str | None) -> bytes:
    """The top of a page as PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        shown.goto(page.resolve().as_uri())
        shown.wait_for_selector("html[data-drawn]")
        taken = shown.screenshot()
        browser.close()
    return taken


def in_few_colours(png: bytes) -> bytes:
    """Smaller, and to the eye the same."""
    from PIL import Image

    kept = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(kept, "PNG", optimize=True)
    return kept.getvalue()


if __name__ == "__main__":
    main()
