"""Plots show the given numbers, or a reason why there is nothing to show."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from float_research.analysis import clips as over_clips
from float_research.analysis import plots
from float_research.analysis.load import SETTINGS, described, load_clips, load_runs, load_traces
from float_research.errors import UserError


@pytest.fixture(scope="module")
def runs(made: Path) -> pd.DataFrame:
    return load_runs(made)


@pytest.fixture(scope="module")
def clips(made: Path) -> pd.DataFrame:
    return load_clips(made)


@pytest.fixture(scope="module")
def traces(clips: pd.DataFrame) -> pd.DataFrame:
    return load_traces(clips)


def drawn(figure: Figure) -> int:
    """Renders a figure and returns its size in bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return len(buffer.getvalue())


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_pareto_has_a_line_and_a_slope_per_solver(runs: pd.DataFrame) -> None:
    figure = plots.pareto(runs.head(6))
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert texts(figure) == ["midpoint, slope 2.00 (order 2)", "euler, slope 1.00 (order 1)"], "the lower line first"
    lower, upper = (text.get_position()[1] for text in axes.texts)
    assert upper - lower >= plots.NAME_HEIGHT
    assert list(axes.lines[0].get_xdata()) == [8, 16, 32]
    assert np.allclose(axes.lines[0].get_ydata(), [3 / 8, 3 / 16, 3 / 32])
    assert drawn(figure)


def test_guidance_map_has_a_number_per_cell(runs: pd.DataFrame) -> None:
    scaled = runs.assign(lips=runs["guidance.audio.scale"] + 10 * runs["guidance.emotion.scale"])
    figure = plots.guidance_map(scaled.iloc[6:10], "lips")
    assert texts(figure) == ["21", "23", "1", "3"], "the larger emotion scale is on top"
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "3"]
    assert drawn(figure)


def test_bars_are_the_seconds_of_phases(runs: pd.DataFrame) -> None:
    (axes,) = plots.timing(runs.head(2)).axes
    widths = {str(bars.get_label()): bars[1].get_width() for bars in axes.containers}
    assert widths["decode"] == pytest.approx(runs["decode_s"][1])
    assert sum(widths.values()) == pytest.approx(max(runs["wall_s"][1], sum(widths.values())))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0: nfe=4", "1: nfe=8"]


def test_converged_solutions_are_an_item_of_their_own(runs: pd.DataFrame) -> None:
    table = runs.head(2).assign(converge_s=[100.0, 0.0], wall_s=[130.0, 10.0])
    axes, apart = plots.timing(table).axes
    assert [bar.get_width() for bar in apart.containers[0]] == [100, 0]
    assert max(bars[0].get_x() + bars[0].get_width() for bars in axes.containers) == pytest.approx(30)


def test_settings_are_sorted(runs: pd.DataFrame) -> None:
    figure = plots.by_setting(runs.head(6), ["sampling_error", "not_there"], "nfe")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "8", "16"]
    means = (3 / 8 + 3 / 64) / 2, (3 / 16 + 3 / 256) / 2, (3 / 32 + 3 / 1024) / 2
    assert np.allclose(axes.lines[-1].get_ydata(), means)


def test_a_planted_seam_peaks_at_zero(traces: pd.DataFrame) -> None:
    one = traces[traces["run"] == 0].assign(motion_velocity=0.0)
    one.loc[one["frame"] == 50, "motion_velocity"] = 7.0
    over_time, around = over_clips.seams(one, around_frames=3).axes
    assert [line.get_xdata()[0] for line in over_time.lines[1:]] == [2.0], "the window starts at 2 s"
    assert list(around.lines[0].get_ydata()) == [0, 0, 0, 7, 0, 0, 0]


def test_coordinates_show_windows_and_emotions(traces: pd.DataFrame) -> None:
    figure = over_clips.coordinates(traces[traces["run"] == 0], directions=[2, 0])
    *rows, bands = figure.axes
    assert [axes.get_ylabel() for axes in rows] == ["02", "00"]
    assert all(axes.lines[1].get_xdata()[0] == 2.0 for axes in rows)
    assert len(bands.collections) == 2
    assert drawn(figure)
    with pytest.raises(UserError, match="a single clip; choose it"):
        over_clips.coordinates(traces)


def test_strips_show_equal_times_and_leave_missing_videos_empty(clips: pd.DataFrame) -> None:
    shown = clips.head(2).copy()
    shown.attrs = clips.attrs
    shown.loc[1, "video_path"] = "/nowhere.mp4"
    figure = over_clips.strips(shown, num_frames=3)
    images = [axes.images for axes in figure.axes]
    assert [len(found) for found in images] == [1, 1, 1, 0, 0, 0]
    assert images[0][0].get_array().shape == (64, 64, 3)
    assert texts(figure) == ["video missing"]
    sheet = over_clips.sheet(clips.head(1), rows=2, columns=2)
    assert sum(len(axes.images) for axes in sheet.axes) == 4
    assert drawn(sheet)


def test_traces_are_overlaid(traces: pd.DataFrame) -> None:
    figure = over_clips.over_time(traces[traces["run"].isin([0, 1])], ["mouth_opening", "not_there"])
    (axes,) = figure.axes
    labels = [
        f"run {run}, previous_frames=10 emotion=audio audio.scale=2 emotion.scale=1 nfe={nfe} solver=euler"
        for run, nfe in enumerate((4, 8))
    ]
    assert [line.get_label() for line in axes.lines] == labels
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels


def test_a_clips_traces_lie_over_silence_and_closed_lips(traces: pd.DataFrame) -> None:
    one = traces[traces["run"] == 0]
    one = one.assign(mouth_opening=one["mouth_opening"].where(one["frame"] != 7))
    figure = over_clips.in_speech(one, ["mouth_opening", "not_there", "motion_velocity"])
    assert [axes.get_title("left") for axes in figure.axes] == ["mouth_opening", "motion_velocity"]
    upper = figure.axes[0]
    assert np.flatnonzero(np.isnan(upper.lines[0].get_ydata())).tolist() == [7], "no face, no line"
    places = {
        str(area.get_label()): (path.vertices[:, 0].min(), path.vertices[:, 0].max())
        for area in upper.collections
        for path in area.get_paths()
    }
    half, num_frames = len(one) // 2, len(one)
    assert places == {
        "silence": pytest.approx((0, half / 25)),
        "m, b, p": pytest.approx((half / 25, (half + 1) / 25)),
        "audio_level": pytest.approx((0, (num_frames - 1) / 25)),
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["audio_level", "silence", "m, b, p"]
    assert drawn(figure)
    plain = over_clips.in_speech(pd.DataFrame({"time_s": [0.0], "lip_aperture": [0.1]}), ["lip_aperture"])
    assert (len(plain.axes[0].collections), plain.legends) == (0, [])
    with pytest.raises(UserError, match="a single clip, not"):
        over_clips.in_speech(traces, ["mouth_opening"])
    with pytest.raises(UserError, match=r"no trace of blinks, smile; measure them first"):
        over_clips.in_speech(one, ["blinks", "smile"])


def test_bands_are_those_of_the_page() -> None:
    script = (Path(over_clips.__file__).parents[1] / "assets" / "page" / "traces.js").read_text(encoding="utf-8")
    on_page = re.findall(r'name: "(\w+)", label: "(.*?)"', script)
    assert on_page == [(name, label) for name, (label, *_) in over_clips.BANDS.items()]
    assert f'BACKGROUND = "{over_clips.LEVEL}"' in script


def test_names_say_settings_by_the_shortest_unique_ends() -> None:
    frame = pd.DataFrame({"a.scale": [1.0, 2.0], "b.scale": [3, 4], "c.window_s": [2, None], "same": [1, 1]})
    frame.attrs = {SETTINGS: list(frame.columns)}
    assert described(frame) == ["a.scale=1 b.scale=3", "a.scale=2 b.scale=4"]
    frame.loc[1, "c.window_s"] = 4.5
    assert described(frame) == ["a.scale=1 b.scale=3 window_s=2", "a.scale=2 b.scale=4 window_s=4.5"]


def test_lines_join_ordered_settings_alone_and_figures_fit_a_page(runs: pd.DataFrame) -> None:
    names = [f"number_{place}" for place in range(8)]
    table = runs.head(6).assign(**dict.fromkeys(names, 1.0))
    assert plots.by_setting(table, names, "nfe").axes[0].lines[-1].get_linestyle() == "-"
    figure = plots.by_setting(table, names, "solver")
    assert figure.axes[0].lines[-1].get_linestyle() == "None"
    assert figure.get_size_inches()[0] * figure.dpi <= 1200
    assert sum(axes.axison for axes in figure.axes) == 8


BARE = pd.DataFrame({"run": ["0"], "nfe": [4]})
BARE.attrs = {SETTINGS: ["nfe"]}
NOTHING: dict[str, tuple[Callable[[], Figure], str]] = {
    "pareto": (lambda: plots.pareto(BARE), "no run has sampling_error"),
    "map": (lambda: plots.guidance_map(BARE.assign(x=1.0, y=1, z=2), "x", rows="y", columns="z"), "do not vary"),
    "timing": (lambda: plots.timing(BARE), "no phase times"),
    "setting": (lambda: plots.by_setting(BARE, ["a", "b"], "nfe"), "none of a, b"),
    "seams": (lambda: over_clips.seams(pd.DataFrame()), "no clip has traces"),
    "strips": (lambda: over_clips.strips(pd.DataFrame()), "no clip to show"),
}


@pytest.mark.parametrize(("plot", "said"), NOTHING.values(), ids=NOTHING)
def test_nothing_to_show_is_one_sentence(
    plot: Callable[[], Figure], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=said):
        plot()
    assert plots.attempt(plot) is None
    assert said in capsys.readouterr().out
