"""Writer of a fragmented MP4 with sound, which is playable while it grows."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from float_research.types import Image, Waveform
from float_research.video.mark import marked
from float_research.video.writer import AAC_FRAME, H264, aac_rate_hz, add_video, exact_rate, to_yuv

MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof"


class GrowingWriter:
    """Writes frames and mono sound to `path` as they come, in fragments of a second. Closing it ends the last one.

    Sound may be ahead of the frames; it is written up to theirs.
    """

    def __init__(self, path: Path, settings: H264, *, fps: float, size_px: int, rate_hz: int) -> None:
        self.path = path
        self.rate, self.rate_hz, self.num_frames, self.num_samples = exact_rate(fps), rate_hz, 0, 0
        self._reformatter = VideoReformatter()
        self._letters, self._sound = settings.letters(size_px), np.zeros(0, np.float32)
        name = str(path.absolute())  # FFmpeg would take a relative path with a colon as an address
        options = {"movflags": MOVFLAGS, "flush_packets": "1"}
        self._container = av.open(name, "w", format="mp4", options=options)
        each_second = {"tune": "zerolatency", "g": str(round(self.rate))}
        self._video = add_video(self._container, settings, self.rate, size_px, each_second)
        audio_hz = settings.audio_rate_hz or aac_rate_hz(rate_hz)
        self._audio = self._container.add_stream("aac", rate=audio_hz, layout="mono")
        self._audio.bit_rate = settings.audio_bitrate_bps

    def hear(self, samples: Waveform) -> None:
        """Takes the sound of frames that are still to come."""
        self._sound = np.concatenate([self._sound, samples])

    def write(self, image: Image) -> None:
        """Encodes a frame and the sound of the same time."""
        picture = image if self._letters is None else marked(image, self._letters)
        self._container.mux(self._video.encode(to_yuv(self._reformatter, picture, self.num_frames, self.rate)))
        self.num_frames += 1
        wanted = int(self.num_frames / self.rate * self.rate_hz) - self.num_samples
        if wanted >= AAC_FRAME:
            self._write_sound(wanted)

    def close(self) -> None:
        """Writes the rest of the frames' sound, and the last fragment. Without frames there is no file."""
        self._write_sound(int(self.num_frames / self.rate * self.rate_hz) - self.num_samples)
        for stream in (self._video, self._audio) if self.num_frames else ():
            self._container.mux(stream.encode(None))
        self._container.close()

    def __enter__(self) -> "GrowingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_sound(self, num_samples: int) -> None:
        samples, self._sound = self._sound[:num_samples], self._sound[num_samples:]
        if not len(samples):
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = self.rate_hz, Fraction(1, self.rate_hz)
        frame.pts = self.num_samples
        self.num_samples += len(samples)
        self._container.mux(self._audio.encode(frame))  # which resamples
