"""Renders saved motion with other portraits, edited anew, without sampling.

render.py FILE.motion.safetensors --image other.png motion=calm decoding.precision=bfloat16. Every motion is rendered
with every portrait. Edits come on top of those of the run that saved the motion, of which the file holds the result.
"""

import argparse
from pathlib import Path

from float_research import cli, options
from float_research.printing import say, stdout
from float_research.program import command


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=command("render"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=options.parts(["motion", "decoding", "video", "face"]),
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="MOTION|NAME=VALUE",
        help="saved motions, NAME.motion.safetensors in the videos folder of a run, and settings of infer, such as "
        "motion=calm",
    )
    parser.add_argument("--image", nargs="+", required=True, metavar="IMAGE", help="one or more portraits")
    parser.add_argument("--audio", type=Path, help="the recording, for the sound of the videos; default: none")
    parser.add_argument("--output", type=Path, default=Path("outputs/render"), help="folder of the videos")
    arguments = parser.parse_intermixed_args()
    settings = [word for word in (*arguments.words, *arguments.image) if "=" in word and not Path(word).exists()]
    motions, images = (
        [Path(word) for word in given if word not in settings] for given in (arguments.words, arguments.image)
    )
    if not motions:
        parser.error("give a motion, such as outputs/infer/RUN/videos/NAME.motion.safetensors")
    from float_research.inference.rendering import MotionRendering
    from float_research.loading import load

    console = stdout()
    rendering = MotionRendering(
        load=lambda: load(settings),
        motions=motions,
        images=images,
        audio=arguments.audio,
        output=arguments.output,
    )
    rendering.run(lambda line: say(console, line))


if __name__ == "__main__":
    cli.run(main)
