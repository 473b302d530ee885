"""Renders a contact sheet and an animation of a video, for pages that cannot play it."""

import argparse
from pathlib import Path

from float_research import cli
from float_research.errors import printable
from float_research.files import require_file, require_free
from float_research.program import command


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("preview"), description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--output", type=Path, help="output folder; default: the video's folder")
    parser.add_argument("--rows", type=int, default=3, help="rows of the contact sheet")
    parser.add_argument("--columns", type=int, default=6, help="columns of the contact sheet")
    parser.add_argument("--every", type=int, default=2, help="the animation shows every n-th frame")
    parser.add_argument("--quality", type=int, default=80, help="quality of the animation, 0 to 100")
    parser.add_argument("--landmarks", action="store_true", help="draw the contours of the face on the frames")
    parser.add_argument("--overwrite", action="store_true", help="replace existing pictures")
    arguments = parser.parse_args()
    if min(arguments.rows, arguments.columns, arguments.every) < 1:
        parser.error("--rows, --columns and --every must be positive")
    require_file(arguments.video, "video", "give the path of a file")
    from float_research.video.preview import animation, contact_sheet

    folder, stem = arguments.output or arguments.video.parent, arguments.video.stem
    sheet, moving = folder / f"{stem}.png", folder / f"{stem}.webp"
    for path in () if arguments.overwrite else (sheet, moving):
        require_free(path)
    marked = arguments.landmarks
    made = contact_sheet(arguments.video, sheet, rows=arguments.rows, columns=arguments.columns, landmarks=marked)
    print(printable(made, 1000))
    made = animation(arguments.video, moving, every=arguments.every, quality=arguments.quality, landmarks=marked)
    print(printable(made, 1000))


if __name__ == "__main__":
    cli.run(main)
