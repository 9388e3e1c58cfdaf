"""`python -m benchmarks.picture REPORT.html OUT.png`: what a reader sees first of a report, as a
small picture; needs a Chromium.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

WINDOW, SMALL = (1440, 1330), 960  # pixels: of the page, and the width of the picture
COLOURS = 200
NAMES = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """0; 2 where there is no browser."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.picture", description=__doc__)
    flags.add_argument("report", type=Path)
    flags.add_argument("out", type=Path)
    asked = flags.parse_args()
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        flags.error(f"no browser: none of {', '.join(NAMES)} is installed")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        size = f"--window-size={WINDOW[0]},{WINDOW[1]}"
        page = asked.report.resolve().as_uri()
        quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        command = (browser, *quiet, size, f"--screenshot={shot}", page)
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture = Image.open(shot).convert("RGB")
        picture.thumbnail((SMALL, picture.height), Image.Resampling.LANCZOS)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        picture.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(asked.out, optimize=True)
    print(f"{asked.out}: {asked.out.stat().st_size / 1000:.0f} KB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
