"""THEval's measures of planted faces with known motion, and scores of known means."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from planted import NOBODY, SIZE_PX, moved, photo, plant, still
from subjects import subject, watched

from float_research.errors import UserError
from float_research.inference.measuring import of_run
from float_research.landmarks.landmarker import Landmarks
from float_research.landmarks.points import LEFT_LID_LOWER, RIGHT_LID_LOWER
from float_research.landmarks.pose import angles_deg
from float_research.metrics import theval
from float_research.metrics.landmarks import LIPS
from float_research.metrics.metric import Findings, Need
from float_research.metrics.theval import (
    BROWS,
    CORNERS,
    EYES,
    LOWER,
    UNMEASURED,
    UPPER,
    Theval,
    head_motion,
    lip_sync,
    loudness,
    openings,
    silent_lip_stability,
    wide_openings,
)
from float_research.metrics.theval_score import ALL, MEASURED, ThevalScore
from float_research.metrics.voice import speech_frames

__all__ = ["photo", "still"]
CONFIG = Path(__file__).parents[2] / "conf" / "metrics" / "theval.yaml"
RATE_HZ, FPS = 16000, 25.0
SPOKEN = "theval_silent_lip_stability", "theval_lip_sync"


def measured(
    monkeypatch: pytest.MonkeyPatch, faces: Sequence[Landmarks], speech: Sequence[tuple[float, float]] = (), **clip: Any
) -> Findings:
    """Measures planted faces; there is speech in these seconds."""
    monkeypatch.setattr(theval, "speech_segments", lambda sound: list(speech))
    return watched(Theval(), plant(monkeypatch, faces), subject(len(faces), **clip))


def test_a_frozen_face_has_no_motion_and_perfectly_stable_lips(
    monkeypatch: pytest.MonkeyPatch, still: Landmarks
) -> None:
    found = measured(monkeypatch, [still] * 50, [(1, 2)])
    motion = [found.metrics[name] for name in MEASURED if name != "theval_lip_sync"]
    assert motion == pytest.approx([0] * 4, abs=1e-9)
    assert found.absent.keys() == set(UNMEASURED)
    assert "TOPIQ" in found.absent["theval_global_aesthetic"]


def test_lip_dynamics_is_the_mean_deviation_of_all_distances(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """Half of the frames have a lower lip 6 px further down."""
    points, opened = still.points, moved(still, LOWER, (0, 6))
    found = measured(monkeypatch, [still, opened] * 20)
    spread = []
    for a, b in combinations(LIPS, 2):
        before = np.linalg.norm(points[0, a, :2] - points[0, b, :2])
        after = np.linalg.norm(opened.points[0, a, :2] - opened.points[0, b, :2])
        spread.append(abs(after - before) / 2)
    assert found.metrics["theval_lip_dynamics"] == pytest.approx(np.mean(spread))
    assert len(spread) == 780


def test_lips_are_measured_at_256_pixels(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    twice = still._replace(points=2 * still.points)
    faces = [still, moved(still, LOWER, (0, 6))] * 20
    larger = [twice, moved(twice, LOWER, (0, 12))] * 20
    found = measured(monkeypatch, faces).metrics
    images = [np.zeros((2 * SIZE_PX, 2 * SIZE_PX, 3), np.uint8)] * 40
    plant(monkeypatch, larger)
    grown = watched(Theval(), images, subject(40)).metrics
    assert grown["theval_lip_dynamics"] == pytest.approx(found["theval_lip_dynamics"])
    assert grown["theval_silent_lip_stability"] == pytest.approx(found["theval_silent_lip_stability"])


def test_wide_pictures_are_measured_as_if_they_were_squares(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """Also, the mouth opening in speech is relative to the horizontal distance of the eyes, which turning changes."""
    sound = np.random.default_rng(0).standard_normal(2 * RATE_HZ).astype(np.float32)
    shown = [mouth(still, 0.1 + 0.004 * (frame % 7)) for frame in range(50)]
    faces = [face._replace(points=face.points * (0.6 + 0.02 * number, 1, 1)) for number, face in enumerate(shown)]
    found = measured(monkeypatch, faces, [(0, 1)], waveform=sound).metrics
    plant(monkeypatch, [face._replace(points=face.points * (2, 1, 1)) for face in faces])
    wide = watched(Theval(), [np.zeros((SIZE_PX, 2 * SIZE_PX, 3), np.uint8)] * 50, subject(50, waveform=sound)).metrics
    for name in ("theval_lip_dynamics", *SPOKEN):
        assert wide[name] == pytest.approx(found[name])
    opening = np.concatenate([wide_openings(face.points[..., :2] / SIZE_PX) for face in faces])
    speaking = speech_frames([(0, 1)], 50, FPS)
    assert found["theval_lip_sync"] == pytest.approx(lip_sync(opening, loudness(sound, 50, FPS), speaking))


def test_head_motion_combines_turning_and_moving() -> None:
    yaw = np.tile([0.0, 6.0], 10)
    angles = np.stack([yaw, 0 * yaw, 0 * yaw], axis=1)
    turning = (3 / 3) * np.diff(yaw).var() / 3
    still = np.zeros((20, 2))
    assert head_motion(angles, still) == pytest.approx(np.sqrt(turning))
    swaying = np.stack([np.tile([-3.0, 3.0], 10), np.zeros(20)], axis=1)
    assert head_motion(0 * angles, swaying) == pytest.approx(np.sqrt(9 / 2))
    assert head_motion(angles, swaying) == pytest.approx(np.sqrt(turning + 9 / 2))
    assert head_motion(angles[:1], still[:1]) == 0


def test_a_moving_and_turning_face_has_head_motion(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    aside = moved(still, range(478), (8, 0))
    assert measured(monkeypatch, [still, aside] * 10).metrics["theval_head_motion"] == pytest.approx(np.sqrt(16 / 2))
    turned = still._replace(pose=still.pose @ np.diag([1.0, -1.0, -1.0, 1.0]))
    assert not np.allclose(angles_deg(turned.pose), angles_deg(still.pose))
    assert measured(monkeypatch, [still, turned] * 10).metrics["theval_head_motion"] > 1


def test_brows_are_measured_in_eye_distances(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """Both brows go up by a tenth of the eyes' distance for one frame, and a frame without a face is skipped."""
    flat = still.points[0, :, :2]
    eyes = [flat[eye].mean(0) for eye in EYES]
    apart = np.linalg.norm(eyes[0] - eyes[1])
    face, raised = still, still
    for brow, eye in zip(BROWS, eyes, strict=True):
        away = flat[brow].mean(0) - eye
        raised = moved(raised, brow, away / np.linalg.norm(away) * apart / 10)
    found = measured(monkeypatch, [face, NOBODY, raised, face])
    assert found.metrics["theval_brow_dynamics"] == pytest.approx(0.1)


def mouth(still: Landmarks, opening: float) -> Landmarks:
    """Returns a face whose inner lips are apart by this many distances between the outer corners of the eyes."""
    points = still.points.copy()
    corners = points[0, [RIGHT_LID_LOWER[0], LEFT_LID_LOWER[0]], :2]
    points[:, LOWER, :2] = points[:, UPPER, :2] + (0, opening * np.linalg.norm(corners[0] - corners[1]))
    return still._replace(points=points)


def test_silent_lip_stability_is_the_deviation_in_silence(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """A mouth that moves in speech alone, then in the silence, where most frames deviate by 0.02 from the mean."""
    speaking = [mouth(still, 0.1 * (frame % 2)) for frame in range(25)]
    closed = [mouth(still, 0.05)] * 25
    restless = [mouth(still, 0.05 + 0.02 * (-1) ** frame) for frame in range(25)]
    for silence, expected in ((closed, 0), (restless, 0.02)):
        found = measured(monkeypatch, speaking + silence, [(0, 1)])
        assert found.metrics["theval_silent_lip_stability"] == pytest.approx(expected, abs=1e-9)
        assert found.traces["speech"].tolist() == [1] * 26 + [0] * (len(silence) - 1)


def test_lip_sync_compares_opening_and_loudness_in_speech(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    level = np.repeat(np.random.default_rng(0).random(50), 2)  # of windows of 20 ms, as frames last 40 ms
    sound = np.repeat(level, RATE_HZ // 50).astype(np.float32)
    seen = loudness(sound, 50, FPS)
    for opening, expected in ((seen, 0), (1 - seen, None), (np.full(50, 0.3), "loudness")):
        faces = [mouth(still, 0.1 + 0.2 * value) for value in opening]
        found = measured(monkeypatch, faces, [(0, 2)], waveform=sound)
        scaled = (seen - seen.min()) / np.ptp(seen)
        wanted = {0: 0, None: np.abs(1 - 2 * scaled).mean(), "loudness": scaled.mean()}[expected]
        assert found.metrics["theval_lip_sync"] == pytest.approx(wanted, abs=1e-5)


def test_the_two_openings_have_different_units(still: Landmarks) -> None:
    """One over the distance between outer corners, the other over the horizontal one between the eyes' centres."""
    flat = mouth(still, 0.2).points[..., :2] / SIZE_PX
    eyes = [flat[:, corners, 0].mean() for corners in CORNERS]
    apart = np.linalg.norm(flat[0, RIGHT_LID_LOWER[0]] - flat[0, LEFT_LID_LOWER[0]])
    assert openings(flat) == pytest.approx([0.2])
    assert wide_openings(flat) == pytest.approx([0.2 * apart / abs(eyes[0] - eyes[1])])
    narrow = flat * (0.5, 1)
    assert wide_openings(narrow) == pytest.approx(2 * wide_openings(flat))
    assert openings(narrow)[0] < 0.4


def test_loudness_is_that_of_50_ms_around_a_frame() -> None:
    sound = np.zeros(RATE_HZ, np.float32)
    sound[RATE_HZ // 2 - 400 : RATE_HZ // 2 + 400] = 1
    level = loudness(sound, 25, 20)
    assert level[10] == pytest.approx(1)
    assert level[[8, 9, 11, 12]].max() == 0
    assert level[-1] == 0


def test_without_enough_faces_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    found = measured(monkeypatch, [still] * 9 + [NOBODY] * 11)
    assert not found.metrics
    assert {found.absent[name] for name in MEASURED} == {"a face was found in 9 of 20 frames"}
    assert np.isnan(found.traces["theval_mouth_opening"][9:]).all()
    assert measured(monkeypatch, []).absent["theval_head_motion"] == "a face was found in 0 of 0 frames"


def test_numbers_of_sound_are_absent_with_their_reason(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    whole = measured(monkeypatch, [still] * 50, [(0, 2)])
    assert whole.absent["theval_silent_lip_stability"] == "needs a silence of 0.3 s, and the recording has none"
    quiet = measured(monkeypatch, [still] * 50)
    assert quiet.absent["theval_lip_sync"] == "speech was heard in 0 of 50 frames; needs a tenth of them"
    hidden = measured(monkeypatch, [still] * 27 + [NOBODY] * 23, [(0, 1)])
    assert hidden.absent["theval_silent_lip_stability"] == "a face was found in 1 of 24 silent frames"
    deaf = measured(monkeypatch, [still] * 50, waveform=None, missing={Need.AUDIO: "the video has no sound"})
    assert {deaf.absent[name] for name in SPOKEN} == {"needs the recording, and the video has no sound"}
    assert "theval_lip_dynamics" in deaf.metrics


def test_a_recording_at_another_rate_is_heard_alike(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    heard: list[int] = []
    monkeypatch.setattr(theval, "speech_segments", lambda sound: heard.append(len(sound)) or [])
    images = plant(monkeypatch, [still] * 50)
    watched(Theval(), images, subject(50, waveform=np.ones(48000 * 2, np.float32), sampling_rate_hz=48000))
    assert heard == [2 * RATE_HZ]


def test_speech_is_rounded_as_in_theval(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """Of speech until 1.04 s, the frame at 1.04 s counts as silent, as if speech ended at 1.0 s."""
    faces = [mouth(still, 0.3)] * 27 + [mouth(still, 0.06)] * 23
    found = measured(monkeypatch, faces, [(0, 1.04)])
    assert found.metrics["theval_silent_lip_stability"] == pytest.approx(0.24 / 24)
    assert found.traces["speech"].tolist() == [1] * 27 + [0] * 23


def test_stability_ignores_frames_without_a_face() -> None:
    opening = np.array([0.1, np.nan, 0.3, 9.0])
    silent = np.array([True, True, True, False])
    assert silent_lip_stability(opening, silent) == pytest.approx(0.1)


def real(**changes: Any) -> dict[str, float]:
    """Returns the published means of real videos."""
    return {**yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["theval_score"]["real"], **changes}


def score(**means: float) -> Findings:
    """Returns the scores of a run with two clips of these means."""
    clips = [{"metrics": {name: value * part for name, value in means.items()}} for part in (0.5, 1.5)]
    clips[0]["absent"] = {name: "no face was seen" for name in ALL if name not in means}
    return of_run([ThevalScore(real=real())], clips, [])


def test_scores_compare_the_means_with_real_videos() -> None:
    means = {
        name: value * share for (name, value), share in zip(real().items(), (1, 1, 1, 2, 0, 0.5, 1, 4), strict=True)
    }
    found = score(**means)
    scores = [found.metrics[f"{name}_score"] for name in MEASURED]
    assert scores == pytest.approx([0, 0, 0.5, 1, -2]), "as much less is as bad as as much more"
    assert found.metrics["theval_partial_score"] == pytest.approx(-0.1)
    assert found.metrics["theval_score"] == pytest.approx(2.5 / 8)
    assert not found.absent


def test_totals_need_all_their_scores() -> None:
    found = score(theval_lip_dynamics=1.7, theval_head_motion=18)
    assert found.metrics.keys() == {"theval_lip_dynamics_score", "theval_head_motion_score"}
    assert found.absent["theval_lip_sync_score"] == "no face was seen"
    assert found.absent["theval_partial_score"].startswith("needs theval_brow_dynamics, theval_silent")
    assert score().absent.keys() == {number.name for number in ThevalScore.numbers}


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ({"theval_lip_sync": 0}, "real.theval_lip_sync=0 must be a positive number"),
        ({"theval_lip_sync": "a"}, "real.theval_lip_sync=a must be a positive number"),
        ({"other": 1}, "must give theval_global_aesthetic, "),
    ],
)
def test_wrong_means_of_real_videos_are_refused(means: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ThevalScore(real=real(**means))
