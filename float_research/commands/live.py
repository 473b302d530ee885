"""Speaks while speech comes in on standard input, and writes a video that is playable while it grows.

live.py me.png < hello.wav reads a recording at real-time pace. With --fast it reads as fast as it can, or as fast as a
microphone speaks: arecord -f S16_LE -r 16000 | live.py me.png --fast. Ctrl-C ends the speech and finishes the video.
"""

import argparse
import sys
import time
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, cast

from float_research import cli
from float_research.errors import UserError, printable
from float_research.files import require_free
from float_research.printing import say, stdout
from float_research.program import command
from float_research.stopping import Stopped, held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from float_research.data.pipe import Pipe
    from float_research.inference.session import LiveFrame, LiveSession
    from float_research.video.growing import GrowingWriter


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=command("live"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", help="the portrait")
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help=f"settings of {command('infer')}")
    parser.add_argument("--output", type=Path, default=Path("live.mp4"), help="the video; default: live.mp4")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing video")
    parser.add_argument(
        "--look-ahead-s", type=float, help="speech behind a window of motion that is waited for; default: 1"
    )
    parser.add_argument("--context-s", type=float, help="speech before it that the encoders hear too; default: 8")
    parser.add_argument("--fast", action="store_true", help="do not wait to keep the pace of speech")
    headless = parser.add_argument_group("samples without the header of a WAV")
    headless.add_argument("--raw", metavar="FORMAT", help="their format: s16le, s32le or f32le, as FFmpeg names them")
    headless.add_argument("--rate-hz", type=int, default=16000, help="their rate; default: 16000")
    headless.add_argument("--channels", type=int, default=1, help="their channels; default: 1")
    arguments = parser.parse_intermixed_args()
    if arguments.output.suffix.lower() != ".mp4":
        raise UserError(f"{printable(arguments.output, 1000)} must end in .mp4, the only supported format")
    if not arguments.overwrite:
        require_free(arguments.output)
    if sys.stdin.isatty():
        raise UserError(f"no speech on standard input; give a recording, as in {command('live')} me.png < hello.wav")
    from float_research import loading
    from float_research.data.pipe import Pipe, RawSound
    from float_research.media import BOUNDS
    from float_research.video.growing import GrowingWriter

    raw = arguments.raw and RawSound(kind=arguments.raw, rate_hz=arguments.rate_hz, channels=arguments.channels)
    pipe = Pipe(cast(BufferedIOBase, sys.stdin.buffer), raw, BOUNDS)
    pipeline = loading.load(arguments.overrides)
    chosen = {name: getattr(arguments, name) for name in ("look_ahead_s", "context_s")}
    given = {name: value for name, value in chosen.items() if value is not None}
    with pipeline.live(arguments.image, rate_hz=pipe.rate_hz, **given) as session:
        core, size_px = pipeline.core, pipeline.loader.image_size
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        with GrowingWriter(
            arguments.output, pipeline.video, fps=core.fps, size_px=size_px, rate_hz=pipe.rate_hz
        ) as writer:
            speak(session, pipe, writer, fast=arguments.fast)


def speak(session: "LiveSession", pipe: "Pipe", writer: "GrowingWriter", *, fast: bool) -> None:
    """Turns speech into a video until it ends or a signal comes, and says how long it took."""
    console, started, computed_s, stopped = stdout(), time.perf_counter(), 0.0, None

    def write(frames: "Iterator[LiveFrame]") -> None:
        nonlocal computed_s
        began = time.perf_counter()
        for frame in frames:
            writer.write(frame.image)
            if writer.num_frames == 1:
                took_s = time.perf_counter() - began
                say(console, f"first frame after {session.heard_s:.2f} s of speech and {took_s:.2f} s of computing")
        computed_s += time.perf_counter() - began

    try:
        for block in pipe.blocks():
            with held():  # a signal waits for the frames of a block
                writer.hear(block)
                write(session.feed(block))
            if not fast:
                time.sleep(max(0.0, started + session.heard_s - time.perf_counter()))
    except Stopped as signal:  # ends the speech, not its frames
        stopped = signal
    write(session.finish())
    phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in session.seconds.items())
    if writer.num_frames:
        factor = computed_s / session.heard_s
        say(console, f"{writer.num_frames} frames of {session.heard_s:.2f} s of speech: {writer.path}")
        say(console, f"real-time factor {factor:.2f}: {computed_s:.2f} s of computing ({phases})")
    else:
        raise UserError("standard input held no samples; give a recording of speech")
    if stopped is not None:
        raise stopped


if __name__ == "__main__":
    cli.run(main)
