"""Prints the table of recordings and pictures, expected and measured: `python tests/media_cases`."""

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from float_research.data.image import read_image
from float_research.errors import UserError
from float_research.media import BOUNDS
from media_cases import hearing, pictures, sound


def main() -> None:
    logging.getLogger("float_research").setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        print(
            "recording: seconds (expected) · heard: lag (expected), level · spoken: lag, level, channels, rate · notes"
        )
        for case in sound.CASES:
            made = hearing.measure(case, hearing.build(case, Path(folder)))
            if isinstance(made, str):
                print(f"{case.name}: {made.replace(folder, '')}")
                continue
            assert case.heard is not None
            print(
                f"{case.name}: {made.seconds:.3f} s ({case.heard.shape[1] / sound.HZ:.3f}) · "
                f"{made.heard_lag_ms:.2f} ms ({case.lag_ms:.2f}), {made.heard_db:+.2f} dB · "
                f"{made.spoken_lag_ms:.2f} ms, {made.spoken_db:+.2f} dB, {made.channels}, {made.rate_hz} Hz · "
                f"{made.notes.replace(folder, '') or '-'}"
            )
        print("picture: colour left, right (expected)")
        for picture in pictures.CASES:
            try:
                place = Path(folder) / picture.name.replace("/", " ")
                place.mkdir()
                image = read_image(picture.build(place), "blue", BOUNDS)
                shown = [tuple(image[10, x].tolist()) for x in (4, 27)]
                print(f"{picture.name}: {shown} ({[tuple(map(round, colour)) for colour in picture.colours]})")
            except UserError as error:
                print(f"{picture.name}: {str(error).replace(folder, '')}")


if __name__ == "__main__":
    main()
