"""Ranks with a critical difference, as published, and figures that show what a comparison found."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats
from test_statistics import clips, crossing

from float_research.analysis.comparison import MOST_SETTINGS, forest, ranking
from float_research.analysis.crossed import Design
from float_research.analysis.pairs import Paired, settings
from float_research.analysis.ranks import Ranks, critical_difference, rank
from float_research.analysis.statistics import Contrasts, compare
from float_research.analysis.tables import FIGURES, KINDS, write
from float_research.errors import UserError
from float_research.metrics.metric import Better, Number

QUANTILES = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
"""Critical values of Nemenyi's test at 5 % by the number of classifiers: Demšar (2006), table 5 (a)."""
AUC = """
0.763 0.768 0.771 0.798  0.599 0.591 0.590 0.569  0.954 0.971 0.968 0.967  0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898  0.936 0.931 0.916 0.931  0.661 0.668 0.609 0.685  0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875  1.000 1.000 1.000 1.000  0.940 0.962 0.965 0.962  0.619 0.666 0.614 0.669
0.972 0.981 0.975 0.9749  0.957 0.978 0.946 0.970
"""
"""Four variants of C4.5 on 14 data sets: Demšar (2006), table 6, where 0.975 and 0.975 of one have ranks 2 and 3."""


def ranked(values: np.ndarray, design: Design, better: Better | float = Better.HIGHER) -> Ranks:
    labels = [f"s{place}" for place in range(len(values))]
    return rank(Paired(number=Number("auc", "", better), labels=labels, runs=values[..., None], design=design))


@pytest.mark.parametrize(("k", "quantile"), QUANTILES.items())
def test_critical_differences_are_those_of_the_paper(k: int, quantile: float) -> None:
    assert critical_difference(k, 14) == pytest.approx(quantile * np.sqrt(k * (k + 1) / (6 * 14)), abs=1e-3)


def test_ranks_are_those_of_the_paper() -> None:
    found = ranked(np.array(AUC.split(), dtype=float).reshape(14, 4).T, crossing(14))
    assert list(found.mean.values()) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical == pytest.approx(1.25, abs=5e-3)
    ties = sum(size**3 - size for size in (4, 2, 2, 2)) / (14 * (4**3 - 4))
    assert found.p == pytest.approx(stats.chi2.sf(9.28 / (1 - ties), 3), rel=0.01), "9.28, corrected for ties"
    assert found.blocks == "14 recordings"
    assert list(found.alike()) == [(pytest.approx(1.964, abs=5e-4), pytest.approx(3.143, abs=5e-4))]


def test_blocks_are_the_units_of_the_largest_factor() -> None:
    """Twice as many seeds do not make a difference look surer."""
    of_recordings = np.random.default_rng(0).normal(size=(3, 6, 1))
    wide = np.broadcast_to(of_recordings, (3, 6, 4)).reshape(3, -1)
    few, many = ranked(of_recordings[..., 0], crossing(6)), ranked(wide, crossing(6, 4))
    assert (few.p, few.critical, few.mean) == (many.p, many.critical, pytest.approx(many.mean))


def test_equal_settings_have_equal_ranks_and_a_value_may_be_best() -> None:
    same = ranked(np.full((3, 6), 0.1 + 0.2), crossing(6))
    assert (set(same.mean.values()), same.p) == ({2.0}, 1.0)
    near = ranked(np.array([[0.8] * 6, [1.1] * 6, [3.0] * 6]), crossing(6), 1.0)
    assert near.mean == {"s0": 2, "s1": 1, "s2": 3}


def test_groups_are_the_largest_without_a_significant_difference() -> None:
    mean = {"a": 1, "b": 2, "c": 3, "d": 3.2, "e": 5}
    held = Ranks(number=Number("x", "", None), mean=mean, p=0.01, critical=1.5, blocks="")
    assert list(held.alike()) == [(1, 2), (2, 3.2)], "e stands alone"


def compared(num_settings: int = 4) -> Contrasts:
    table = clips(num_settings)
    table["solver"] = table["solver"].replace("s1", r"$\frac{x}$ <b>\n" + "a" * 50)
    return compare(settings(table, []), None, "solver=s0")


def words(figure: Figure) -> str:
    texts = [[*axes.texts, *axes.get_yticklabels(), axes.title, axes.xaxis.label] for axes in figure.axes]
    return "\n".join(text.get_text() for own in texts for text in own)


def test_a_forest_has_a_panel_a_number_and_says_what_is_separable() -> None:
    found = compared()
    figure = forest(found)
    panels = {axes.get_title(loc="left").split(" ")[0]: axes for axes in figure.axes if axes.lines}
    assert set(panels) == {item.number.name for item in found.differences}
    for name, axes in panels.items():
        items = [item for item in found.differences if item.number.name == name]
        zero, *drawn = axes.lines
        assert list(zero.get_xdata()) == [0, 0]
        assert [tuple(line.get_xdata()) for line in drawn[::2]] == [(item.low, item.high) for item in items]
        filled = [to_hex(line.get_markerfacecolor()) != "#ffffff" for line in drawn[1::2]]
        assert filled == [item.separable for item in items]
    assert r"$\frac{x}$ <b>\n" + "a" * 20 in words(figure), "names are plain text"
    assert "distance to 1: lower is better" in words(figure)
    assert figure.get_suptitle().startswith("difference to s0 with 95 % interval")


def test_ranks_are_drawn_with_names_blocks_and_the_critical_difference() -> None:
    figure = ranking(compared())
    said = words(figure)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0].startswith("flicker (luma levels): average rank over 6 recordings, 1 is best (Friedman p = ")
    assert f"critical difference {critical_difference(4, 6):.2f}" in said
    assert "s3 (1.00)" in said


def test_figures_that_say_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="two settings have no ranks"):
        ranking(compared(2))
    table = clips(3).assign(motion_amplitude=1.0)
    table.attrs = clips().attrs
    with pytest.raises(UserError, match="none of these numbers has a better direction"):
        ranking(compare(settings(table, []), ["motion_amplitude"], "solver=s0"))
    many = pd.concat([clips(1, 2, 1, 1).assign(solver=f"s{place}") for place in range(MOST_SETTINGS + 1)])
    many.attrs = clips().attrs
    with pytest.raises(UserError, match=f"{MOST_SETTINGS + 1} settings do not fit a page"):
        forest(compare(settings(many.reset_index(drop=True), []), ["flicker"], "solver=s0"))


def test_figures_are_written_beside_tables_and_replaced(tmp_path: Path) -> None:
    files, notes = write(compared(), tmp_path)
    pictures = {f"{name}.{kind}" for name in FIGURES for kind in KINDS}
    assert (pictures <= {path.name for path in files}, notes) == (True, [])
    with Image.open(tmp_path / "differences.png") as image:
        assert 1800 < image.width < 2400, "as wide as a page, at 300 dpi"
    before = (tmp_path / "ranks.pdf").read_bytes()
    assert b"/FontFile2" in before, "TrueType, not Type 3"
    write(compared(), tmp_path)
    assert (tmp_path / "ranks.pdf").read_bytes() == before, "the same comparison is the same file"
    write(compared(2), tmp_path)
    assert {path.name for path in tmp_path.glob("*.p*")} == {"differences.pdf", "differences.png"}, (
        "no ranks of another"
    )
    (tmp_path / "differences.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"differences\.png was not written by float-research"):
        write(compared(2), tmp_path)
