"""Stages 0 and 2 on a small corpus: phones, emotions and flow matching."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from float_research import compose
from float_research.errors import UserError
from float_research.models.audio_encoder import AudioEncoder
from float_research.models.float_model import FloatModel
from float_research.sampling.chunking import Chunking
from float_research.toyface.phones import PHONES
from float_research.toyface.recordings import FOLDER as RECORDINGS
from float_research.toyface.speech import Phone
from float_research.training.flow import FlowObjective
from float_research.training.module import Batches, Training
from float_research.training.objective import HELD_OUT, TRAINING, BatchKey
from float_research.training.sequences import ToySequences
from float_research.training.speech import frame_phones
from float_research.types import Conditions

CPU = torch.device("cpu")
CHUNKING = Chunking(window_s=0.8, previous_frames=5, attention_window=2, fps=25.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled recordings, used both as training and as held-out speech."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = (RECORDINGS / "corpus.jsonl").read_text().splitlines()
    for file in RECORDINGS.glob("*.flac"):
        (folder / file.name).symlink_to(file)
    kept = [line for line in lines if "librivox" in line]
    both = kept + [line.replace('"held_out"', '"train"') for line in kept]
    (folder / "corpus.jsonl").write_text("\n".join(both) + "\n")
    return folder


def trained(stage: str, corpus: Path, folder: Path, *overrides: str) -> dict[str, Tensor]:
    small = ["model=tiny", f"data.corpus={corpus}", "stage.batch_size=3"]
    trainer = ["trainer.accelerator=cpu", "trainer.max_steps=3", "trainer.val_check_interval=3"]
    quiet = ["trainer.enable_progress_bar=false", "num_validation=1", f"output_dir={folder}", f"stage={stage}"]
    cfg = compose.compose_config([*small, *trainer, *quiet, *overrides], "train")
    return load_file(compose.build_training(cfg).run(Console(quiet=True)))


@pytest.mark.parametrize(
    ("stage", "prefixes", "figure"),
    [
        ("phones", {"audio_encoder.wav2vec2"}, "phone_accuracy"),
        ("emotion", {"emotion_encoder.wav2vec2_for_emotion"}, "emotion_accuracy"),
        ("flow", {"fmt.", "audio_encoder.audio_projection"}, "jaw_correlation"),
    ],
)
def test_each_stage_trains_and_exports_its_own_networks(
    corpus: Path, tmp_path: Path, stage: str, prefixes: set[str], figure: str
) -> None:
    weights = trained(stage, corpus, tmp_path)
    assert {prefix for prefix in prefixes for name in weights if name.startswith(prefix)} == prefixes
    assert all(name.startswith(tuple(prefixes)) for name in weights)
    assert figure in (tmp_path / "curves" / "version_0" / "metrics.csv").read_text()


def test_pretrained_speech_encoders_are_loaded_from_a_folder(corpus: Path, tmp_path: Path) -> None:
    state = compose.model_builder(compose.compose_config(["model=tiny"]))().state_dict()
    for folder, prefix in (
        ("wav2vec2-base-960h", "audio_encoder."),
        ("wav2vec-english-speech-emotion-recognition", "emotion_encoder.wav2vec2_for_emotion."),
    ):
        (tmp_path / folder).mkdir()
        tensors = {
            name.removeprefix(prefix): torch.full_like(value, 0.125)
            for name, value in state.items()
            if name.startswith(prefix) and "audio_projection" not in name
        }
        save_file(tensors, tmp_path / folder / "model.safetensors")
    cfg = compose.compose_config(
        [
            "model=tiny",
            "stage=flow",
            f"data.corpus={corpus}",
            f"init_from=[{tmp_path}]",
            f"output_dir={tmp_path / 'run'}",
        ],
        "train",
    )
    begun = compose.build_training(cfg)._model(Console(quiet=True)).state_dict()
    for name, value in begun.items():
        pretrained = name.startswith(("audio_encoder.wav2vec2.", "emotion_encoder.wav2vec2_for_emotion."))
        if value.is_floating_point() and value.numel() > 1:
            assert bool((value == 0.125).all()) is pretrained, name


def test_workers_give_the_same_batches(corpus: Path, tmp_path: Path) -> None:
    alone = trained("phones", corpus, tmp_path / "alone")
    helped = trained("phones", corpus, tmp_path / "helped", "num_workers=2")
    for name, value in alone.items():
        torch.testing.assert_close(helped[name], value, msg=name)


def test_devices_and_workers_get_different_batches() -> None:
    def begun(rank: int, num_ranks: int) -> list[tuple[int, BatchKey]]:
        return list(itertools.islice(Batches(lambda key: key, 4, rank=rank, num_ranks=num_ranks), 2))

    assert begun(0, 1) == [(4, BatchKey(TRAINING, 4)), (5, BatchKey(TRAINING, 5))]
    assert begun(0, 2) == [(4, BatchKey(TRAINING, 8)), (5, BatchKey(TRAINING, 10))]
    assert begun(1, 2) == [(4, BatchKey(TRAINING, 9)), (5, BatchKey(TRAINING, 11))]


def test_frames_are_labelled_by_the_phone_at_their_middle() -> None:
    phones = (Phone("SIL", 0.0, 0.05, 0.0), Phone("AA", 0.05, 0.11, 1.0))
    labels = frame_phones(phones, 0.0, 4, 25.0)
    assert [PHONES[label] for label in labels] == ["SIL", "AA", "AA", "SIL"]
    np.testing.assert_array_equal(frame_phones(phones, 0.04, 2, 25.0), labels[1:3])


def test_projected_layers_are_the_features(model: FloatModel) -> None:
    encoder: AudioEncoder = model.audio_encoder
    audio = torch.randn(1, 12800, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder.audio_projection(encoder.layers(audio, 20)), encoder(audio, 20))


def test_each_sample_may_have_its_own_flow_time(model: FloatModel) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=generator)

    conditions = Conditions(
        audio=drawn(4, 32), reference=drawn(32), emotion=drawn(6, 7), previous_motion=drawn(2, 32),
        previous_audio=drawn(2, 32),
    )  # fmt: skip
    x = drawn(4, 32)
    both = model.vector_field(conditions)(torch.tensor([0.2, 0.9]), x)
    for i, t in enumerate((0.2, 0.9)):
        torch.testing.assert_close(both[i], model.vector_field(conditions)(torch.tensor(t), x)[i])


KEPT = {"drop_audio": 0.0, "drop_reference": 0.0, "drop_emotion": 0.0, "drop_previous": 0.0}


def toy_sequences(corpus: Path) -> ToySequences:
    return ToySequences(
        folder=str(corpus), takes=2, batch_size=6, chunking=CHUNKING, coordinate_scale=3.0, source_spread=0.6, seed=0
    )


@pytest.fixture
def sequences(corpus: Path) -> ToySequences:
    return toy_sequences(corpus)


def test_windows_contain_matching_speech_and_motion(sequences: ToySequences, corpus: Path, model: FloatModel) -> None:
    key = BatchKey(HELD_OUT, 4)
    windows = sequences(model, key, CPU)
    assert windows.motion.shape == (6, 25, 20)
    assert windows.motion[..., 16:].abs().max() == 0
    assert windows.speech.shape[:2] == (6, 25)
    sequences(model, BatchKey(HELD_OUT, 5), CPU)
    for again in (
        sequences(model, BatchKey(HELD_OUT, 4), CPU),
        toy_sequences(corpus)(model, BatchKey(HELD_OUT, 4), CPU),
    ):
        torch.testing.assert_close(again.motion, windows.motion)
        torch.testing.assert_close(again.speech, windows.speech)


def test_windows_are_padded_with_zeros_before_and_the_last_frame_after(sequences: ToySequences) -> None:
    frames = torch.arange(1.0, 31.0)[:, None]
    assert sequences.cut(frames, 0)[:, 0].tolist() == [0.0] * 5 + list(range(1, 21))
    assert sequences.cut(frames, 3)[:, 0].tolist() == [0.0] * 2 + list(range(1, 24))
    assert sequences.cut(frames[:8], 0)[:, 0].tolist() == [0.0] * 5 + list(range(1, 9)) + [8.0] * 12


def test_conditions_are_dropped_per_sample(sequences: ToySequences, model: FloatModel) -> None:
    objective = FlowObjective(sequences=sequences, field=1.0, velocity=1.0, seam=0.0, **KEPT)
    windows = sequences(model, BatchKey(HELD_OUT, 4), CPU)
    keep = torch.tensor([True, False] * 3)
    dropped = objective.conditions(model, windows, audio=keep, reference=keep, emotion=~keep, previous=keep)
    assert (dropped.audio[~keep] == 0).all()
    assert (dropped.audio[keep] != 0).any()
    assert (dropped.emotion[keep] == 0).all()
    assert (dropped.emotion[~keep].sum(-1) - 1).abs().max() < 1e-5
    assert (dropped.previous_motion[~keep] == 0).all()
    assert (dropped.previous_audio[~keep] == 0).all()
    assert (dropped.previous_motion[keep & ~windows.first] != 0).any()


def test_first_frames_weigh_more_after_previous_frames(sequences: ToySequences, model: FloatModel) -> None:
    def loss(seam: float, **drops: float) -> float:
        objective = FlowObjective(sequences=sequences, field=1.0, velocity=0.0, seam=seam, **{**KEPT, **drops})
        with torch.no_grad():
            return float(objective.losses(model, BatchKey(HELD_OUT, 4), CPU)["field"])

    assert not sequences(model, BatchKey(HELD_OUT, 4), CPU).first.all()
    assert loss(8.0) > 1.1 * loss(0.0)
    assert loss(8.0, drop_previous=1.0) == loss(0.0, drop_previous=1.0)


def test_even_takes_follow_the_voice_and_odd_takes_the_label(
    sequences: ToySequences, model: FloatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(
        "float_research.training.sequences.perform",
        lambda phones, loudness, emotion, **rest: (shown.append(emotion), torch.zeros(len(loudness), 16))[1],
    )
    number, entry = 0, sequences.entries[TRAINING][0]
    sequences.take(model, number, 0, TRAINING, CPU)
    assert sequences.label(model, number, 0, TRAINING) is None
    told = []
    for take in range(1, 40, 2):
        sequences.take(model, number, take, TRAINING, CPU)
        told.append(model.emotions[sequences.label(model, number, take, TRAINING) or 0])
    assert shown == [entry.emotion, *told]
    assert len(set(told)) > 3, "regardless of the voice"


def test_parameters_outside_a_stage_are_frozen(sequences: ToySequences) -> None:
    objective = FlowObjective(sequences=sequences, field=1.0, velocity=1.0, seam=0.0, **KEPT)
    model = compose.model_builder(compose.compose_config(["model=tiny"]))()
    Training(
        model=model, objective=objective, optimizer=torch.optim.Adam, warmup_steps=1, num_validation=1, num_workers=0
    )
    assert model.fmt.training
    assert model.audio_encoder.audio_projection.training
    assert not any(module.training for module in model.audio_encoder.wav2vec2.modules()), "no dropout, no layer drop"
    moving = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moving
    assert all(name.startswith(objective.trains) for name in moving)


def test_an_untrained_field_is_zero(model: FloatModel, sequences: ToySequences) -> None:
    fresh = compose.model_builder(compose.compose_config(["model=tiny"]))().eval()
    objective = FlowObjective(sequences=sequences, field=2.0, velocity=0.0, seam=0.0, **KEPT)
    objective.prepare(fresh)
    windows = sequences(fresh, BatchKey(TRAINING, 0), CPU)
    motion = fresh.motion_autoencoder.dec.direction(windows.motion[:, 5:].flatten(0, 1))
    terms = objective.losses(fresh, BatchKey(TRAINING, 0), CPU)
    assert float(terms["velocity"].detach()) == 0.0
    assert 0.5 < float(terms["field"].detach()) / 2 < 0.9 + motion.abs().mean().item(), "E|x1 - x0| of unit noise"


def test_a_missing_corpus_is_an_error_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make_speech"):
        trained("phones", tmp_path / "none", tmp_path / "run")
