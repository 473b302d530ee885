"""Parity with the official model: recomputes golden tensors and compares them.

A case is NAME.json with NAME.safetensors. With NAME.keys.json it is a model with weights seeded from parameter names;
without it, a list of face crops.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from float_research.data.cropping import Box, crop_face
from float_research.errors import UserError, reading
from float_research.models.audio_encoder import AudioEncoder
from float_research.models.checkpoint import UNUSED, Random, canonical, load_model, parameter_shapes
from float_research.models.decoder_engine import Engine
from float_research.models.emotion_encoder import EmotionEncoder
from float_research.models.field_engine import FieldEngine
from float_research.models.float_model import FloatModel
from float_research.models.flow_matching_transformer import FlowMatchingTransformer
from float_research.models.motion_autoencoder import MotionAutoencoder
from float_research.sampling import budget, guidance, noise, schedule, solver, stitch, time_grid
from float_research.sampling.chunking import Chunking
from float_research.sampling.sampler import Sampler
from float_research.sampling.sampling_noise import ODE
from float_research.tensors import read_safetensors
from float_research.texts import read_json, read_mapping
from float_research.types import ClipConditions, Conditions

OFFICIAL_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
SOLVERS: dict[str, Any] = {
    kind.method: kind for kind in vars(solver).values() if isinstance(kind, type) and hasattr(kind, "method")
}
IMAGE_SEED, VECTOR_FIELD_SEED = 3, 5
TOLERANCE, TOLERANCE_FLOAT16, PIXEL_TOLERANCE = 1e-4, 1e-3, 1e-3
BY_ENGINE = ", by the engine"
ENGINE_BYTES = 1 << 31


@dataclass(frozen=True)
class Comparison:
    """A tensor compared with its golden value. `error` of crops: share of differing pixels; 1 if one is off by > 1."""

    case: str
    tensor: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


def compare_folder(folder: Path, tolerance: float | None = None) -> Iterator[Comparison]:
    """Compares every case of a folder, tensor by tensor. `tolerance` replaces the default for model tensors."""
    cases = sorted(path for path in folder.glob("*.json") if not path.name.endswith(".keys.json"))
    if not cases:
        raise UserError(f"{folder} has no golden case (NAME.json with NAME.safetensors)")
    for path in cases:
        with reading(f"golden case {path}", "get it again; HYDRA_FULL_ERROR=1 shows where"):
            yield from compare_case(path, tolerance)


def compare_case(path: Path, tolerance: float | None) -> Iterator[Comparison]:
    """Compares one case of either kind."""
    golden, _ = read_safetensors(path.with_suffix(".safetensors"), what="golden tensors")
    keys = path.with_suffix(".keys.json")
    if keys.is_file():
        settings, named = (read_mapping(file, what="golden case", remedy="get it again") for file in (path, keys))
        check_mappings([settings[name] for name in ("opt", "wav2vec2_config", "emotion_config", "vector_field")])
        check_mappings(settings["samples"])
        yield from compare_model(path.stem, settings, golden, named, tolerance)
    else:
        crops = read_json(path, what="golden case", remedy="get it again")
        check_mappings(crops)
        yield from compare_crops(path.stem, crops, golden)


def check_mappings(values: Any) -> None:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ValueError("its settings are not a list of mappings")


def compare_crops(case: str, settings: list[dict[str, Any]], golden: Mapping[str, Tensor]) -> Iterator[Comparison]:
    for i, face in enumerate(settings):
        image = golden[f"image.{i}"].numpy()
        left, top, right, bottom = face["box_at_360px_height"]
        box = Box(left, top, right, bottom, face["score"])
        crop = crop_face(image, box, margin=1.6, size_px=face["size"]).astype(int)
        difference = np.abs(crop - golden[f"crop.{i}"].numpy()).max(axis=-1)
        error = 1.0 if difference.max() > 1 else float((difference > 0).mean())
        yield Comparison(case, f"crop.{i}", error, PIXEL_TOLERANCE)


@torch.inference_mode()
def compare_model(
    case: str,
    settings: dict[str, Any],
    golden: Mapping[str, Tensor],
    keys: Mapping[str, list[int]],
    tolerance: float | None = None,
) -> Iterator[Comparison]:
    """Compares all tensors of a model case except inputs; a tensor that is not recomputed counts as wrong."""
    if tolerance is None:
        half = any(value.dtype == torch.float16 for value in golden.values())
        tolerance = TOLERANCE_FLOAT16 if half else TOLERANCE
    model = load_model(lambda: build(settings), Random(seed=0))
    prescribed = {(canonical(key), tuple(shape)) for key, shape in keys.items() if not UNUSED.search(key)}
    with torch.device("meta"):
        differing = prescribed ^ set(parameter_shapes(build(settings)).items())
    yield Comparison(case, "parameter names, shapes", float(len(differing)), 0.0)
    recomputed = dict(recompute(model, settings, golden))
    for name in sorted(golden):
        if not name.startswith("input."):
            error = relative_error(recomputed[name], golden[name]) if name in recomputed else float("inf")
            yield Comparison(case, name, error, tolerance)
    for name, value in recomputed.items():
        if name.endswith(BY_ENGINE):
            yield Comparison(case, name, relative_error(value, golden[name.removesuffix(BY_ENGINE)]), tolerance)


def relative_error(value: Tensor, golden: Tensor) -> float:
    """Returns `‖x - golden‖ / ‖golden‖`; infinite if the shapes differ."""
    if value.shape != golden.shape:
        return float("inf")
    golden = golden.cpu().double()
    return float((value.cpu().double() - golden).norm() / golden.norm())


def build(settings: dict[str, Any]) -> FloatModel:
    """Builds the model of a golden case from official option names."""
    opt = settings["opt"]
    latent_dim, audio_dim, num_emotions = opt["dim_w"], opt["dim_a"], opt["dim_e"]
    return FloatModel(
        fps=opt["fps"],
        sampling_rate_hz=opt["sampling_rate"],
        emotions=EMOTIONS[:num_emotions],
        motion_autoencoder=MotionAutoencoder(
            image_size=opt["input_size"],
            channels=OFFICIAL_CHANNELS,
            latent_dim=latent_dim,
            num_directions=opt["dim_m"],
        ),
        audio_encoder=AudioEncoder(
            wav2vec2=settings["wav2vec2_config"],
            feature_dim=audio_dim,
            only_last_features=opt["only_last_features"],
            sampling_rate_hz=opt["sampling_rate"],
            fps=opt["fps"],
            segment_frames=1500,
            window_frames=None,
            overlap_frames=0,
        ),
        emotion_encoder=EmotionEncoder(
            wav2vec2=settings["emotion_config"], num_emotions=num_emotions, segment_frames=1500
        ),
        fmt=FlowMatchingTransformer(
            latent_dim=latent_dim,
            audio_dim=audio_dim,
            num_emotions=num_emotions,
            width=opt["dim_h"],
            depth=opt["fmt_depth"],
            num_heads=opt["num_heads"],
            mlp_ratio=opt["mlp_ratio"],
            attention_window=opt["attention_window"],
        ),
    )


def recompute(
    model: FloatModel, settings: dict[str, Any], golden: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Recomputes all tensors of a case from its inputs; vector fields start from the golden `wa` and `we`."""
    opt, audio, num_frames = settings["opt"], golden["input.audio"], settings["T"]
    autoencoder = model.motion_autoencoder
    identity, features = autoencoder.encode(case_image(opt, golden))
    reference = autoencoder.reference_motion(identity)
    wa, we = model.audio_encoder(audio, num_frames), model.emotion_encoder(audio)
    yield from {"s_r": identity, "r_s": reference, "wa": wa, "we": we}.items()
    yield "lambda", autoencoder.coordinates(identity)
    for i, feature in enumerate(features):
        statistics = [feature.mean(), feature.std()]
        yield f"feat_stats.{i}", torch.cat([torch.stack(statistics), feature.flatten()[:6]])
    for i, scales in enumerate(settings["vector_field"]["scales"]):
        yield f"vector_field.{i}", vector_field(model, settings, golden, reference, scales)
    first: Tensor | None = None
    for i, sample in enumerate(settings["samples"]):
        label = sample["emotion"]
        emotion = we if label is None else torch.eye(len(model.emotions))[[model.emotions.index(label)]]
        clip = ClipConditions(id=str(i), audio=wa[0], reference=reference[0], emotion=emotion.expand(num_frames, -1))
        for network, by in ((model.vector_field, ""), (FieldEngine(model.fmt, torch.float32).vector_field, BY_ENGINE)):
            motion = torch.cat([c.motion for c in sampler(opt, sample)(network, [clip])])[None]
            first = motion if first is None else first
            yield f"sample.{i}{by}", motion
    if first is not None and "frames" in golden:
        latents = identity + first[0, : len(golden["frames"])]
        yield "frames", autoencoder.decode(features, latents)
        engine = Engine(autoencoder.dec, torch.float32)
        batches = engine.frames(features, latents, at_most=len(latents), memory_bytes=ENGINE_BYTES)
        yield "frames" + BY_ENGINE, torch.cat(list(batches))


def case_image(opt: Mapping[str, Any], golden: Mapping[str, Tensor]) -> Tensor:
    """Returns the input image: the stored one, or redrawn from its seed if only a float16 copy is stored."""
    stored = golden.get("input.image")
    if stored is not None and stored.dtype == torch.float32:
        return stored
    size = opt["input_size"]
    image = np.random.Generator(np.random.PCG64(IMAGE_SEED)).uniform(-1, 1, (1, 3, size, size))
    return torch.from_numpy(image.astype(np.float32))


def incremental(audio: float, emotion: float) -> guidance.Incremental:
    return guidance.Incremental(audio=schedule.Constant(scale=audio), emotion=schedule.Constant(scale=emotion))


def window(opt: Mapping[str, Any]) -> Chunking:
    return Chunking(
        window_s=opt["wav2vec_sec"],
        previous_frames=opt["num_prev_frames"],
        attention_window=opt["attention_window"],
        fps=opt["fps"],
    )


def vector_field(
    model: FloatModel, settings: dict[str, Any], golden: Mapping[str, Tensor], reference: Tensor, scales: list[float]
) -> Tensor:
    """Computes the guided field of one window at the inputs of the case. `scales`: a, r, e."""
    chunking = window(settings["opt"])
    length, previous = chunking.window_frames, chunking.previous_frames
    generator = torch.Generator().manual_seed(settings["vector_field"].get("noise_generator_seed", VECTOR_FIELD_SEED))
    x, previous_motion, previous_audio = (
        torch.randn(1, positions, width, generator=generator)
        for positions, width in (
            (length, reference.shape[1]),
            (previous, reference.shape[1]),
            (previous, golden["wa"].shape[2]),
        )
    )
    wa = golden["wa"][:, :length]
    wa = torch.cat([wa, wa[:, -1:].expand(-1, length - wa.shape[1], -1)], dim=1)
    conditions = Conditions(
        audio=wa,
        reference=reference,
        emotion=golden["we"][:, None].expand(-1, previous + length, -1),
        previous_motion=previous_motion,
        previous_audio=previous_audio,
    )
    field = incremental(scales[0], scales[2]).guide(lambda given: lambda t, x: model.fmt(t, x, given), conditions)
    return field(torch.tensor(settings["vector_field"]["t"]), x)


def sampler(opt: Mapping[str, Any], sample: Mapping[str, Any]) -> Sampler:
    """Builds the official sampler with the settings of one sample."""
    kind = SOLVERS[sample["solver"]]
    settings: dict[str, Any] = {}
    if issubclass(kind, solver.Controlled):
        settings = {"atol": opt["ode_atol"], "rtol": opt["ode_rtol"]}
    elif issubclass(kind, solver.ReachingEnd):
        settings = {"skip_end": False}
    return Sampler(
        solver=kind(**settings),
        nfe=sample["nfe"],
        budget=budget.GridPoints(),
        time_grid=time_grid.Uniform(),
        guidance=incremental(sample["a_cfg_scale"], sample["e_cfg_scale"]),
        noise=noise.Shared(),
        chunking=window(opt),
        stitch=stitch.Autoregressive(),
        seed=sample["seed"],
        guidance_reuse=1,
        temperature=1.0,
        sampling_noise=ODE,
    )
