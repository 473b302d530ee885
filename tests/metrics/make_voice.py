"""Writes tests/data/voice.json: what silero-vad computes for the sounds of `recordings`.

Run `PYTHONPATH=tests/metrics python tests/metrics/make_voice.py` in an environment that also has silero-vad==6.2.3.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
import torch

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "data" / "voice.json"
RATE_HZ, CHUNK = 16000, 512


def recordings() -> Mapping[str, np.ndarray]:
    """Returns two recordings, and one of them soft, in noise, short, backwards and between silences."""
    arctic, _ = soundfile.read(ROOT / "float_research" / "assets" / "arctic_a0007.wav", dtype="float32")
    libri, _ = soundfile.read(
        ROOT / "float_research" / "toyface" / "recordings" / "librivox_0870.flac", dtype="float32"
    )
    noise = np.random.default_rng(0).standard_normal(4 * RATE_HZ).astype(np.float32) / 50
    silence = np.zeros(RATE_HZ * 3 // 4, np.float32)
    parts = [noise[:RATE_HZ], arctic + noise / 2, silence, arctic / 10, silence, arctic[10000:14500], silence]
    return {"arctic": arctic, "librivox": libri, "mixed": np.concatenate([*parts, arctic[::-1]]), "noise": noise}


def main() -> None:
    import silero_vad

    network, made = silero_vad.load_silero_vad(), {}
    for name, sound in recordings().items():
        samples = torch.from_numpy(np.ascontiguousarray(sound))
        padded = torch.nn.functional.pad(samples, (0, -len(samples) % CHUNK)).split(CHUNK)
        network.reset_states()
        probabilities = [round(network(chunk, RATE_HZ).item(), 6) for chunk in padded]
        segments = silero_vad.get_speech_timestamps(samples, network)
        made[name] = {
            "probabilities": probabilities,
            "segments": [[segment["start"], segment["end"]] for segment in segments],
        }
    content = {"silero-vad": version("silero-vad"), **made}
    FILE.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
