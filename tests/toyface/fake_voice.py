"""A voice without a synthesis tool: per word a vowel (tone) and a consonant (faint noise), with pauses at commas."""

from dataclasses import dataclass, field

import numpy as np

from float_research.toyface.prosody import Prosody, inflect
from float_research.toyface.speech import RATE_HZ, Phone, fill_gaps
from float_research.types import Waveform


@dataclass(frozen=True, kw_only=True)
class FakeVoice:
    name: str
    fails_at: int = field(default=10**9, repr=False)
    said: list[str] = field(default_factory=list, repr=False, compare=False)

    def say(self, text: str, prosody: Prosody, generator: np.random.Generator) -> tuple[Waveform, tuple[Phone, ...]]:
        self.said.append(text)
        if len(self.said) > self.fails_at:
            raise KeyboardInterrupt
        phones, now = [], 0.1
        for word in text.split():
            phones += [Phone("S", now, now + 0.08, 0.0), Phone("AA", now + 0.08, now + 0.2, float(len(word) > 3))]
            now += 0.4 if word.endswith(",") else 0.2
        time = np.arange(int((now + 0.1) * RATE_HZ)) / RATE_HZ
        waveform = 1e-4 * generator.standard_normal(len(time))
        for phone in phones:
            inside = (time >= phone.start_s) & (time < phone.end_s)
            noise = 0.02 * generator.standard_normal(len(time))
            waveform = np.where(inside, np.sin(2 * np.pi * 800 * time) if phone.label == "AA" else noise, waveform)
        return inflect(waveform.astype(np.float32), RATE_HZ, fill_gaps(phones, len(time) / RATE_HZ), prosody, generator)
