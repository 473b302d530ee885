"""Metrics of real faces against known answers: photographs moved by warps, and their points with known changes."""

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from landmarks.pictures import ASTRONAUT, picture
from landmarks.turned import surface, turned
from planted import NOBODY, moved, photo, plant, still
from subjects import subject, watched
from warped import admiral, astronaut, opened, placed, shut, video

from float_research.landmarks.landmarker import Landmarks, face_landmarker
from float_research.landmarks.points import BLENDSHAPES, LEFT_IRIS, LIPS_INNER_LOWER, LIPS_INNER_UPPER, RIGHT_IRIS
from float_research.metrics.face import Face
from float_research.metrics.face_shape import FaceShape
from float_research.metrics.head import Head
from float_research.metrics.landmarks import eye_distance, lip_aperture, lip_width, read_face
from float_research.metrics.lips import Lips
from float_research.metrics.metric import Findings, Need
from float_research.metrics.panel import SEEN_TOGETHER, Panel
from float_research.metrics.series import correlation, spectrum, velocity
from float_research.toyface.phone_times import RECORDINGS, CorpusPhones
from float_research.types import Image

__all__ = ["photo", "still"]
FPS, RATE_HZ = 25, 16000
TIMES = np.arange(26) / FPS
FACE, HEAD, SHAPE = Face(closed=0.6), Head(), FaceShape()
LIPS = Lips(closed=0.05, alignment=None, phones=CorpusPhones(folder=None))
SILENT = {Need.AUDIO: "there is none", Need.PORTRAIT: "there is none"}


def measured(images: list[Image], *metrics: Face | Head | FaceShape | Lips) -> Findings:
    """Returns the findings of metrics that read the same faces."""
    panel = Panel(metrics, subject(len(images), missing=SILENT))
    for start in range(0, len(images), 8):
        panel.see(np.stack(images[start : start + 8]))
    return panel.finish(None)


def test_a_frozen_video_has_no_motion() -> None:
    every = measured([astronaut()] * 25, FACE, HEAD, SHAPE, LIPS)
    found, absent = every.metrics, every.absent
    moving = [name for name in found if any(word in name for word in ("std", "velocity", "energy", "range", "spread"))]
    assert len(moving) == 15
    for name in (*moving, "blinks_per_min", "shape_drift", "lip_dynamics"):
        assert found[name] == pytest.approx(0, abs=0.01 if "deg" in name else 1e-3), name
    assert absent["lip_dynamics_hz"] == "the mouth is constant"
    assert absent["blink_duration_s"] == "there is no blink"
    assert absent["head_loudness_correlation"] == "needs the recording, and there is none"


def test_a_turning_head_has_its_speed() -> None:
    """8° to either side in a second; within 5 % of the speed, 1° of the range."""
    found = measured(video(astronaut(), 26, turned_deg=8 * np.sin(2 * np.pi * TIMES)), HEAD, FACE).metrics
    assert found["roll_velocity_deg_s"] == pytest.approx(8 * 2 * np.pi / np.sqrt(2), rel=0.05)
    assert found["roll_range_deg"] == pytest.approx(16, abs=1)
    assert found["yaw_velocity_deg_s"] < 0.2 * found["roll_velocity_deg_s"]
    parts = [found[f"{angle}_velocity_deg_s"] ** 2 for angle in ("yaw", "pitch", "roll")]
    assert found["head_sway_energy"] == pytest.approx(sum(parts))


def test_a_shifted_face_has_its_speed() -> None:
    """One pixel to the right in each frame, in units of the distance between the eyes; within 3 %."""
    face = astronaut()
    found = measured(video(face, 26, right_px=np.arange(26) - 13.0), HEAD, SHAPE).metrics
    assert found["head_shift_velocity"] == pytest.approx(FPS / eye_distance(read_face(face).points)[0], rel=0.03)
    assert found["roll_velocity_deg_s"] < 2
    assert found["shape_drift"] < 0.005, "the shape stays"


@pytest.mark.parametrize("by_px", [7, 10, 14])
def test_a_mouth_opens_by_known_pixels(by_px: int) -> None:
    """Within 1.5 pixels of a face whose eyes are 81 apart; its width stays within 3 %."""
    face = admiral()
    points = read_face(face).points
    seen = read_face(opened(face, points[0], by_px)).points
    added = lip_aperture(seen) * eye_distance(seen) - lip_aperture(points) * eye_distance(points)
    assert added == pytest.approx(by_px, abs=1.5)
    assert lip_width(seen) == pytest.approx(lip_width(points), rel=0.03)


def test_closed_lids_are_blinks() -> None:
    """Two blinks of 3 and 2 frames of 20."""
    face = astronaut()
    closed = shut(face, read_face(face).points[0])
    frames = [closed if k in {5, 6, 7, 15, 16} else face for k in range(20)]
    found = measured(frames, FACE).metrics
    assert found["blinks_per_min"] == pytest.approx(2 / (20 / FPS / 60))
    assert found["blink_duration_s"] == pytest.approx(2.5 / FPS)


def test_looking_smiling_and_frowning_are_measured(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """Irises that look left and right by 2 pixels, smiles of 0.2 and 0.6, brows up by 0.5."""
    faces = []
    for k in range(8):
        side = (-1) ** k
        actions = np.zeros((1, 52))
        actions[0, [BLENDSHAPES.index(f"mouthSmile{name}") for name in ("Left", "Right")]] = 0.4 + 0.2 * side
        up = [BLENDSHAPES.index(name) for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
        actions[0, up] = 0.25 + 0.25 * side
        faces.append(moved(still, [*RIGHT_IRIS, *LEFT_IRIS], (2 * side, 0))._replace(blendshapes=actions))
    found = measured(plant(monkeypatch, faces), FACE).metrics
    corners = np.linalg.norm(still.points[0, [33, 362], :2] - still.points[0, [133, 263], :2], axis=1)
    assert found["gaze_spread"] == pytest.approx(np.mean(2 / corners), rel=0.01)
    assert (found["smile_mean"], found["smile_std"]) == pytest.approx((0.4, 0.2))
    assert found["brow_std"] == pytest.approx(0.25)


def spoken(levels: np.ndarray) -> np.ndarray:
    """Returns a tone with these levels in consecutive frames."""
    samples = RATE_HZ // FPS
    return (np.repeat(levels, samples) * np.sin(np.arange(len(levels) * samples) * 0.4)).astype(np.float32)


def speaking(
    monkeypatch: pytest.MonkeyPatch, still: Landmarks, apertures: np.ndarray, waveform: np.ndarray, metric: Lips = LIPS
) -> Findings:
    """Measures lips that open by these apertures."""
    points = still.points.copy()
    points[:, LIPS_INNER_LOWER] = points[:, LIPS_INNER_UPPER]
    shut_lips, unit = still._replace(points=points), eye_distance(still.points)[0]
    faces = [moved(shut_lips, LIPS_INNER_LOWER[1:-1], (0, opening * unit)) for opening in apertures]
    return watched(metric, plant(monkeypatch, faces), subject(len(faces), waveform=waveform))


def test_lips_have_the_rhythm_that_they_move_in(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """A mouth at 4 Hz, whose amplitude is 0.1; then one that also sways at 1 Hz, and so has half of its variance."""
    times = np.arange(100) / FPS
    beat = np.sin(2 * np.pi * 4 * times)
    waveform = spoken(0.5 + 0.4 * beat)
    found = speaking(monkeypatch, still, 0.3 + 0.1 * beat, waveform).metrics
    assert found["lip_aperture_mean"] == pytest.approx(0.3, abs=0.005)
    assert found["lip_aperture_std"] == pytest.approx(0.1 / np.sqrt(2), rel=0.02)
    assert found["lip_dynamics"] == pytest.approx(0.1 / np.sqrt(2), rel=0.02)
    assert found["lip_dynamics_hz"] == pytest.approx(4, abs=0.1)
    assert found["lip_dynamics_ratio"] == pytest.approx(1, abs=0.05)
    slow = 0.3 + 0.1 * beat + 0.1 * np.sin(2 * np.pi * times)
    assert speaking(monkeypatch, still, slow, waveform).metrics["lip_dynamics_ratio"] == pytest.approx(0.5, abs=0.03)
    few = speaking(monkeypatch, still, slow[:20], waveform)
    assert few.absent["lip_dynamics"] == "needs 1 s of video"


def test_bilabials_of_a_known_recording_are_found(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    """A mouth that closes on each m, b and p of the recording but the first, and another that never does."""
    waveform = soundfile.read(RECORDINGS / "librivox_0870.flac", dtype="float32")[0]
    phones = CorpusPhones(folder=None)(waveform, RATE_HZ)
    assert phones is not None
    bilabials = [phone for phone in phones if phone.label in {"B", "M", "P"}]
    apertures = np.full(len(waveform) * FPS // RATE_HZ, 0.3)
    for phone in bilabials[1:]:
        apertures[int(FPS * phone.start_s) : int(FPS * phone.end_s) + 1] = 0.01
    found = speaking(monkeypatch, still, apertures, waveform).metrics
    assert found["bilabial_closure"] == pytest.approx(1 - 1 / len(bilabials))
    assert found["bilabial_dip"] > 1
    assert speaking(monkeypatch, still, apertures * 0 + 0.3, waveform).metrics["bilabial_closure"] == 0
    other = speaking(monkeypatch, still, apertures, waveform[::-1].copy()).absent
    assert other["bilabial_closure"].startswith("the phones of this recording are not known; give metrics.lips.align")


def test_an_alignment_file_names_the_bilabials(
    monkeypatch: pytest.MonkeyPatch, still: Landmarks, tmp_path: Path
) -> None:
    file = tmp_path / "times.csv"
    metric = Lips(closed=0.05, alignment=str(file), phones=CorpusPhones(folder=None))
    apertures = np.full(50, 0.2)
    apertures[10:14] = 0.01

    def closure(text: str) -> object:
        file.write_text(text)
        found = speaking(monkeypatch, still, apertures, spoken(apertures), metric)
        return found.metrics.get("bilabial_closure", found.absent.get("bilabial_closure"))

    rows = "id,phone,start_s,end_s\nclip,m,0.4,0.5\nclip,AA,0.6,0.9\nclip,P,1.2,1.3\nother,B,0.4,0.5\n"
    assert closure(rows) == 0.5
    shown = speaking(monkeypatch, still, apertures, spoken(apertures), metric).traces["bilabial"]
    assert np.flatnonzero(shown).tolist() == [10, 11, 12, 30, 31, 32], "25 frames a second, and those that it begins in"
    assert "has no phone of clip clip" in str(closure("id,phone,start_s,end_s\nother,m,0,1\n"))
    assert "has no column phone" in str(closure("id,label,start_s,end_s\nclip,m,0,1\n"))
    assert "a phone lasts from 1.0 to 0.5 s" in str(closure("id,phone,start_s,end_s\nclip,m,1,0.5\n"))
    assert "could not convert" in str(closure("id,phone,start_s,end_s\nclip,m,a,0.5\n"))
    assert closure("id,phone,start_s,end_s\nclip,s,0,1\n") == "no m, b or p is spoken while a face is seen"


def test_a_head_that_nods_with_the_voice_is_told(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    angles = np.radians(10 * np.sin(2 * np.pi * np.arange(50) / FPS))
    poses = np.tile(still.pose, (50, 1, 1))
    for pose, angle in zip(poses, angles, strict=True):
        pose[:3, :3] = pose[:3, :3] @ cv2.Rodrigues(np.array([angle, 0, 0]))[0]
    faces = [still._replace(pose=pose[None]) for pose in poses]
    speed = np.abs(np.cos(2 * np.pi * np.arange(50) / FPS))
    clip = subject(50, waveform=spoken(0.1 + speed))
    found = watched(HEAD, plant(monkeypatch, faces), clip).metrics
    assert found["head_loudness_correlation"] > 0.95
    assert found["pitch_velocity_deg_s"] == pytest.approx(10 * 2 * np.pi / np.sqrt(2), rel=0.05)


def test_another_face_has_another_shape() -> None:
    """The same picture turned is nearer than one squeezed to three quarters, and that than another person."""
    face = astronaut()
    squeezed = cv2.copyMakeBorder(cv2.resize(face, (192, 256)), 0, 0, 32, 32, cv2.BORDER_REPLICATE)
    pictures = [face, placed(face, turned_deg=15), squeezed, cv2.resize(admiral(), (256, 256))]
    shown = [image for image in pictures for _ in range(SEEN_TOGETHER)]
    found = watched(SHAPE, shown, subject(len(shown), portrait=face))
    same, tilted, thin, other = found.traces["shape_distance"].reshape(4, -1).mean(1)
    assert same == pytest.approx(0, abs=1e-4)
    assert tilted < 0.025
    assert min(thin, other) > 2 * tilted
    assert found.metrics["shape_drift"] == pytest.approx(found.metrics["shape_distance"] * 64 / 63, rel=1e-3)


def test_a_face_that_leaves_is_missing_in_all_traces(monkeypatch: pytest.MonkeyPatch, still: Landmarks) -> None:
    gone = measured(plant(monkeypatch, [still] * 20 + [NOBODY] * 6), FACE, HEAD, SHAPE, LIPS)
    assert gone.metrics["face_share"] == pytest.approx(20 / 26)
    assert len(gone.traces) > 12
    for name, trace in gone.traces.items():
        assert np.isfinite(trace).tolist() == [True] * 20 + [False] * 6, name
    for metric in (FACE, HEAD, SHAPE, LIPS):
        found = measured(plant(monkeypatch, [still] * 12 + [NOBODY] * 14), metric)
        assert not found.metrics
        assert {found.absent[name] for name in metric.names} == {"a face was found in 12 of 26 frames"}


def test_two_faces_are_counted_and_one_is_followed() -> None:
    face = astronaut()
    pair = np.concatenate([face, cv2.resize(admiral(), (256, 256))], axis=1)
    found = measured([pair] * 9, FACE, HEAD)
    assert found.metrics["several_faces_share"] == 1
    assert found.metrics["head_shift_velocity"] < 1e-3
    assert measured([face] * 9, FACE).metrics["several_faces_share"] == 0


def test_small_faces_are_read_and_hidden_ones_counted() -> None:
    """A picture of 64 pixels, in which her face is 26 wide, is read; of a face hidden up to an eye there is
    no number.
    """
    small = cv2.resize(astronaut(), (64, 64), interpolation=cv2.INTER_AREA)
    found = measured([small] * 9, FACE).metrics
    assert found["face_share"] == 1
    assert found["mouth_aspect_mean"] == pytest.approx(0.19, abs=0.1), "0.19 in 256 pixels"
    hidden = astronaut()
    hidden[:, 100:] = 127
    assert measured([hidden] * 3, FACE).absent["blinks_per_min"] == "a face was found in 0 of 3 frames"


def test_a_face_in_profile_is_a_gap() -> None:
    """She turns to her side and back; where her profile lasts for most of the clip, there are no numbers."""
    face = picture(ASTRONAUT)
    head = surface(face_landmarker(), face)
    turns = {yaw_deg: turned(face, head, yaw_deg)[0] for yaw_deg in (0, 30, 90)}
    found = measured([turns[yaw_deg] for yaw_deg in (0, 30, 90, 90, 30, 0, 0, 0)], FACE, HEAD)
    assert found.metrics["face_share"] == 0.75
    assert found.metrics["several_faces_share"] == 0
    for name in ("mouth_aspect", "eye_aspect", "yaw_deg"):
        assert np.flatnonzero(np.isnan(found.traces[name])).tolist() == [2, 3], name
    assert found.traces["yaw_deg"][[1, 4]] == pytest.approx([22, 22], abs=4), "turned by 30, which it understates"
    most = measured([turns[yaw_deg] for yaw_deg in (0, 30, 90, 90, 90, 90, 90)], FACE, HEAD)
    assert most.metrics == {}
    assert set(most.absent.values()) == {"a face was found in 2 of 7 frames"}


def test_series_are_those_of_their_formulas() -> None:
    values = np.array([0.0, 1, 4, 9, 16, 25, np.nan, 49])
    assert velocity(values, 1.0)[:6] == pytest.approx([0, 2, 4, 6, 8, 10], abs=1)
    assert np.isnan(velocity(values, 1.0)[6])
    assert np.isnan(velocity(values[:3], 25.0)).all()
    hz, power = spectrum(3 * np.sin(2 * np.pi * 4 * np.arange(100) / FPS), FPS)
    assert hz[power.argmax()] == 4
    assert power.sum() == pytest.approx(4.5)
    assert np.isnan(correlation(np.ones(4), np.arange(4.0)))
    assert correlation(np.array([0, 1, np.nan, 3]), np.array([0.0, 2, 9, 6])) == pytest.approx(1)


def test_measuring_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = measured([astronaut()] * 5, FACE, HEAD, SHAPE, LIPS)
    assert found.metrics["face_share"] == 1
