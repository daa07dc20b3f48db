"""Makes docs/images/page.png, the README's picture of the grounded page: always of a phantom, never of a real scan.

    python docs/make_screenshot.py                                    a phantom with its true sentences
    python docs/make_screenshot.py runs/demo/page.html --open STUDY/REGION  a page that a run left

Needs the extra `test` (playwright) and a Chromium on the machine.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTE = "A procedural phantom, not a patient; the text comes from its plan."


def phantom_page(folder: Path, index: int) -> Path:
    """Writes the page of one phantom of seed 1, its reference text as sections."""
    from reg2rg.anatomy import REGIONS
    from reg2rg.contracts import RegionMask, Volume
    from reg2rg.page import reference_report, write_study_page
    from reg2rg.phantom import plan_study, render, report, sentences

    plan = plan_study(1, index)
    drawn, texts = render(plan, "medium"), sentences(plan)
    page = folder / "page.html"
    write_study_page(
        page,
        volume=Volume(drawn.hu, drawn.affine, "phantom.nii.gz"),
        mask=RegionMask(drawn.bits, frozenset(REGIONS)),
        report=reference_report("phantom", texts, report(texts)),
        notes=[NOTE],
    )
    return page


def photograph(page: Path, anchor: str, out: Path) -> None:
    """Opens the page at `anchor` (STUDY/REGION) and saves 1280×800 pixels."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        window.goto(f"{page.resolve().as_uri()}#{anchor}")
        window.wait_for_selector("article[data-ready=true]:has(li.selected)")
        window.wait_for_timeout(300)
        picture = Image.open(io.BytesIO(window.screenshot()))
        browser.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    # noise below the eye's reach is most of the file: every colour to the nearest multiple of 5
    picture.convert("RGB").point(lambda value: 5 * round(value / 5)).save(out, optimize=True)


def main() -> None:
    """Reads the arguments and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, help="a page of phantoms; default: one is made")
    parser.add_argument("--open", default="phantom/lung", help="STUDY/REGION to show")
    parser.add_argument("--phantom", type=int, default=7, help="which phantom is drawn where no page is given")
    parser.add_argument("--out", type=Path, default=HERE / "images/page.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photograph(options.page or phantom_page(Path(folder), options.phantom), options.open, options.out)


if __name__ == "__main__":
    main()
