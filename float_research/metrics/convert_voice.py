"""Converts the published voice activity detector to `voice.FILE`.

Run `python -m float_research.metrics.convert_voice WHEEL`. Source: the wheel silero_vad-6.2.3-py3-none-any.whl on PyPI,
Copyright 2020-present Silero Team, MIT, of which it takes the network for 16 kHz in silero_vad/data/silero_vad.jit, the
one that the package uses by default; the wheel's silero_vad_16k.safetensors holds other weights. They are rounded to
half precision.
"""

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import torch

from float_research.metrics.voice import FILE, VoiceNetwork, fourier_basis
from float_research.tensors import save_tensors

MEMBER = "silero_vad/data/silero_vad.jit"
SHA256 = "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720"
METADATA = {"source": f"silero-vad 6.2.3, {MEMBER}", "sha256": SHA256, "licence": "MIT"}
BASIS = "_model.stft.forward_basis_buffer"
NAMES = {
    **{f"_model.encoder.{number}.reparam_conv.": f"convolutions.{2 * number}." for number in range(4)},
    "_model.decoder.rnn.": "lstm.",
    "_model.decoder.decoder.2.": "head.",
}


def convert(wheel: Path, file: Path) -> None:
    """Writes the tensors of the wheel's network as safetensors."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(MEMBER)
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise ValueError(f"{MEMBER} is not the published file: its SHA-256 is {found}, not {SHA256}")
    published = torch.jit.load(io.BytesIO(content)).state_dict()
    if (published[BASIS] - fourier_basis()).abs().max() > 1e-6:
        raise ValueError("the network's spectrum is not that of voice.py")
    network, tensors = VoiceNetwork().state_dict(), {}
    for old, new in NAMES.items():
        for name in (name for name in published if name.startswith(old)):
            kind = name.removeprefix(old) + ("_l0" if new == "lstm." else "")
            tensors[new + kind] = published[name].half().reshape(network[new + kind].shape)
    save_tensors(tensors, file, METADATA)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), FILE)
