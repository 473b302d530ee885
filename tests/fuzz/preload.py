"""Imported once by the fork server, so that each attacked process starts immediately."""

import importlib

import librosa
import numpy as np
import torch

torch.set_num_threads(1)
for _name in (
    "av",
    "cv2",
    "hydra.main",
    "librosa",
    "lightning.pytorch.loggers",
    "matplotlib.pyplot",
    "pyarrow.parquet",
    "soundfile",
    "soxr",
    "torch._dynamo",
    "transformers",
    "float_research.analysis.page",
    "float_research.cli",
    "float_research.compose",
    "float_research.inference.api",
    "float_research.inference.job",
    "float_research.inference.module",
    "float_research.inference.remeasuring",
    "float_research.loading",
    "float_research.sweep",
    "float_research.toyface.corpus",
    "float_research.training.autoencoder",
    "float_research.training.job",
    "float_research.training.portraits",
    "float_research.training.videos",
    "fuzz.readers",
    "fuzz.watch",
):
    importlib.import_module(_name)

from fuzz import readers  # noqa: E402

librosa.util.fix_length(np.zeros(1), size=2)  # triggers its lazy imports
for _part in (readers.loader, readers.chosen, readers.usual_cache, readers.videos):
    _part()
