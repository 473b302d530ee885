"""Comparisons with known answers: intervals, error rates and power in simulations, and refused input."""

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from float_research.analysis.crossed import RESIDUAL, Design, Estimate, detectable, needed
from float_research.analysis.load import load_clips
from float_research.analysis.pairs import settings
from float_research.analysis.statistics import Contrasts, compare, holm, shortened
from float_research.analysis.tables import NAMES, write
from float_research.errors import UserError

NUM_SIMULATED = 1000
UNITS = (6, 3, 3)
RATIO = 0.6
"""Of the means of `ratios`."""
FACTORS = ("recording", "portrait", "seed")
EFFECTS = {
    "of all factors": (1.0, 1.0, 1.0, 1.0),
    "of recordings": (1.0, 0.0, 0.0, 1.0),
    "of portraits": (0.0, 1.0, 0.0, 1.0),
    "of recordings and portraits": (1.0, 0.6, 0.0, 1.0),
}
"""Standard deviations of recordings, portraits, seeds, and single pairs."""


def crossing(*units: int) -> Design:
    return Design.of(pd.DataFrame(list(itertools.product(*map(range, units))), columns=FACTORS[: len(units)]))


def simulated(deviations: Sequence[float], *shape: int, units: Sequence[int] = UNITS, seed: int = 0) -> np.ndarray:
    """Draws differences with mean 0: an array of `shape` and pairs."""
    random = np.random.default_rng(seed)
    total = deviations[-1] * random.standard_normal((*shape, *units))
    for axis, deviation in enumerate(deviations[:-1]):
        levels = [number if place == axis else 1 for place, number in enumerate(units)]
        total += deviation * random.standard_normal((*shape, *levels))
    return total.reshape(*shape, -1)


def coverage(found: Estimate, truth: float = 0) -> float:
    return float(np.mean(np.abs(found.mean - truth) <= found.half_width))


def ratios(deviations: Sequence[float], num_designs: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws errors of two solvers, 6 and 10 on average, that share a part of their recording, portrait and seed."""
    shared, own, other = (simulated(deviations, num_designs, seed=seed) for seed in (1, 2, 3))
    return 6 + 0.5 * shared + 0.5 * own, 10 + 0.8 * shared + 0.3 * other


def of_pairs(drawn: np.ndarray) -> float:
    """Returns the coverage of the t interval that takes pairs as independent."""
    half = stats.t.ppf(0.975, drawn.shape[1] - 1) * stats.sem(drawn, axis=1)
    return float(np.mean(np.abs(drawn.mean(1)) <= half))


def pigeonhole(drawn: np.ndarray, num_resamples: int) -> float:
    """Returns the coverage of the percentile interval of Owen's pigeonhole bootstrap."""
    random = np.random.default_rng(1)
    counts = [random.multinomial(number, [1 / number] * number, size=num_resamples) for number in UNITS]
    weights = np.einsum("br,bp,bs->brps", *counts).reshape(num_resamples, -1) / drawn.shape[1]
    low, high = np.quantile(weights @ drawn.T, [0.025, 0.975], axis=0)
    return float(np.mean((low <= 0) & (high >= 0)))


@pytest.mark.parametrize("deviations", EFFECTS.values(), ids=EFFECTS.keys())
def test_the_interval_holds_the_truth(deviations: Sequence[float]) -> None:
    found = crossing(*UNITS).estimate(simulated(deviations, NUM_SIMULATED))
    assert 0.93 <= coverage(found) <= (0.97 if min(deviations) > 0 else 0.98)


def test_the_interval_errs_on_the_safe_side_without_effects_of_factors() -> None:
    assert coverage(crossing(*UNITS).estimate(simulated((0.0, 0.0, 0.0, 1.0), NUM_SIMULATED))) > 0.97


@pytest.mark.parametrize("deviations", EFFECTS.values(), ids=EFFECTS.keys())
def test_rows_and_the_pigeonhole_bootstrap_hold_the_truth_too_rarely(deviations: Sequence[float]) -> None:
    drawn = simulated(deviations, NUM_SIMULATED)
    assert of_pairs(drawn) < 0.8
    assert pigeonhole(drawn, 500) < 0.95


@pytest.mark.parametrize("deviations", EFFECTS.values(), ids=EFFECTS.keys())
def test_the_interval_of_a_ratio_holds_the_truth(deviations: Sequence[float]) -> None:
    x, y = ratios(deviations, NUM_SIMULATED)
    found = crossing(*UNITS).ratio(x, y)
    assert 0.93 <= coverage(found, RATIO) <= 0.98
    rows = stats.sem(x - found.mean[:, None] * y, axis=1) / y.mean(1) * stats.t.ppf(0.975, x.shape[1] - 1)
    assert np.mean(np.abs(found.mean - RATIO) <= rows) < 0.8, "clips as if independent"


def test_a_ratio_to_a_constant_is_a_scaled_mean() -> None:
    x, design = simulated((1.0, 0.6, 0.0, 1.0), 1)[0] + 3, crossing(*UNITS)
    mean, ratio = design.estimate(x), design.ratio(x, np.full_like(x, 4.0))
    assert (ratio.mean, ratio.half_width) == pytest.approx((mean.mean / 4, mean.half_width / 4))


def test_designs_with_gaps_are_estimated_too() -> None:
    table = pd.DataFrame(list(itertools.product(range(8), range(4), range(3))), columns=FACTORS)
    kept = np.random.default_rng(3).random(len(table)) < 0.7
    drawn = simulated((1, 0.6, 0, 1), NUM_SIMULATED, units=(8, 4, 3))[:, kept]
    assert 0.93 <= coverage(Design.of(table[kept]).estimate(drawn)) <= 0.97


def test_without_shared_units_it_is_the_t_test() -> None:
    drawn = np.random.default_rng(0).standard_normal(12) + 0.5
    table = pd.DataFrame({"recording": range(12), "portrait": range(12), "seed": 15})
    design = Design.of(table)
    found, expected = design.estimate(drawn), stats.ttest_1samp(drawn, 0)
    assert float(found.p) == pytest.approx(expected.pvalue)
    assert float(found.half_width) == pytest.approx(np.diff(expected.confidence_interval())[0] / 2)
    assert str(design) == "12 recordings and portraits"


def test_variance_components_are_found() -> None:
    found = crossing(20, 20, 10).estimate(simulated((1.0, 0.5, 0.0, 2.0), 50, units=(20, 20, 10)))
    means = {name: float(part.mean()) for name, part in found.components.items()}
    assert means == pytest.approx({"recording": 1.0, "portrait": 0.25, "seed": 0, RESIDUAL: 4.0}, rel=0.2, abs=0.01)


@pytest.mark.parametrize("deviations", EFFECTS.values(), ids=EFFECTS.keys())
def test_family_wise_error(deviations: Sequence[float]) -> None:
    """Eight comparisons without a difference, such as two settings in four metrics."""
    p = crossing(*UNITS).estimate(simulated(deviations, NUM_SIMULATED, 8)).p
    assert np.mean([holm(row).min() < 0.05 for row in p]) <= 0.06
    assert np.mean(p.min(1) < 0.05) > 0.1, "uncorrected, there are more"


def test_holm() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.5])) == pytest.approx([0.04, 0.09, 0.09, 0.5])


@pytest.mark.parametrize("deviations", [*EFFECTS.values(), (0.0, 0.0, 0.0, 1.0)], ids=[*EFFECTS.keys(), "of none"])
def test_power_at_the_detectable_difference(deviations: Sequence[float]) -> None:
    design = crossing(*UNITS)
    components = dict(zip((*FACTORS, RESIDUAL), np.square(deviations), strict=True))
    found = detectable(components, design.units, design.num_pairs)
    drawn = simulated(deviations, NUM_SIMULATED)
    assert np.mean(design.estimate(drawn + found).p < 0.05) == pytest.approx(0.8, rel=0.2)
    plan = needed(components, design.units, design.num_pairs, found / 2)
    assert plan is not None
    units, num_pairs = plan
    assert num_pairs == np.prod(list(units.values())) > design.num_pairs
    drawn = simulated(deviations, 300, units=list(units.values()))
    assert np.mean(crossing(*units.values()).estimate(drawn + found / 2).p < 0.05) == pytest.approx(0.8, rel=0.2)


def clips(num_settings: int = 3, recordings: int = 6, portraits: int = 3, seeds: int = 3) -> pd.DataFrame:
    """Returns clips of solvers 0, 1, …: each raises `lip_correlation` by 0.05, and none changes `flicker`."""
    random = np.random.default_rng(0)
    base = random.normal(0, 0.1, (recordings, portraits, seeds))
    rows = [
        {
            "run": solver,
            "clip": f"{portrait}-{recording}",
            "solver": f"s{solver}",
            "seed": seed,
            "audio_sha256": f"a{recording}",
            "image_sha256": f"i{portrait}",
            "lip_correlation": 0.4 + 0.05 * solver + base[recording, portrait, seed] + random.normal(0, 0.01),
            "flicker": 2 + random.normal(0, 0.1),
            "seam_jump": 1 + (-1) ** solver * 0.1 * (3 - solver) + random.normal(0, 0.01),
            "absent": json.dumps({"psnr_db": "needs a reference video"}),
        }
        for solver in range(num_settings)
        for recording, portrait, seed in itertools.product(range(recordings), range(portraits), range(seeds))
    ]
    table = pd.DataFrame(rows)
    table.attrs = {"settings": ["seed", "solver"]}
    return table


def compared(table: pd.DataFrame, numbers: Sequence[str] | None = None) -> Contrasts:
    groups = settings(table, ["solver=s0", "solver=s1"])
    return compare(groups, numbers, "solver=s0")


def test_a_comparison_finds_what_differs() -> None:
    found = compare(settings(clips(), []), None, "solver=s0")
    by_name = {(item.number.name, item.setting): item for item in found.differences}
    assert set(by_name) == set(itertools.product(("lip_correlation", "flicker", "seam_jump"), ("s1", "s2")))
    lips = by_name["lip_correlation", "s2"]
    assert lips.low < 0.1 < lips.high
    assert lips.separable
    values = clips().pivot(index=["clip", "seed"], columns="solver", values="lip_correlation")
    apart = values["s2"] - values["s0"]
    assert (lips.difference, lips.effect) == pytest.approx((apart.mean(), apart.mean() / apart.std()))
    assert str(lips).startswith("s2 beats s0 in lip_correlation by 0.1")
    assert "6 recordings × 3 portraits × 3 seeds, paired, p = 0.00" in str(lips)
    jump = by_name["seam_jump", "s1"]
    assert (jump.difference, jump.mean) == pytest.approx((-0.1, 0.8), abs=0.01)
    assert str(jump).startswith("s1 beats s0 in seam_jump (distance to 1) by 0.099 [")
    flicker = by_name["flicker", "s1"]
    assert not flicker.separable
    assert "s1 and s0 are not separable in flicker" in str(flicker)
    assert "with 54 pairs you can see 0." in str(flicker)
    assert found.best["lip_correlation"] == found.best["seam_jump"] == "s2"
    assert found.inseparable["lip_correlation"] == frozenset()
    assert found.inseparable["flicker"] == {"s0", "s1", "s2"} - {found.best["flicker"]}


def test_labels_lose_what_they_share() -> None:
    assert shortened(["nfe=4,solver=a", "nfe=4,solver=b"]) == ["a", "b"]
    assert shortened(["nfe=4,seed=1,solver=a", "nfe=8,seed=1,solver=b"]) == ["nfe=4,solver=a", "nfe=8,solver=b"]
    for labels in (["solver=a", "solver=a,nfe=8"], ["x=[1,2]", "x=[1,3]"], ["runs/a", "runs/b"]):
        assert shortened(labels) == labels


def test_the_sign_flip_test_is_exact() -> None:
    """All six recordings agree, so 2 of the 2⁶ sign assignments are as extreme."""
    (lips,) = compared(clips(), ["lip_correlation"]).differences
    assert lips.p_sign_flip == pytest.approx(2 / 2**6)


def test_the_order_of_clips_does_not_matter() -> None:
    shuffled = clips().sample(frac=1, random_state=0)
    shuffled.attrs = clips().attrs
    (one,), (other,) = (compared(table, ["flicker"]).differences for table in (clips(), shuffled))
    assert (one.difference, one.p) == pytest.approx((other.difference, other.p))


def without(table: pd.DataFrame, rows: Any, name: str | None = None) -> pd.DataFrame:
    if name is None:
        kept = table.drop(index=table.index[rows])
        kept.attrs = table.attrs
        return kept
    table.loc[table.index[rows], name] = np.nan
    return table


def with_nfe(*tables: pd.DataFrame) -> pd.DataFrame:
    """Joins tables as runs with nfe=4, 8, …."""
    table = pd.concat([each.assign(nfe=4 * place) for place, each in enumerate(tables, 1)], ignore_index=True)
    table.attrs = {"settings": ["nfe", "seed", "solver"]}
    return table


def doubled() -> pd.DataFrame:
    """Returns clips of which s0 alone has another nfe, too."""
    return with_nfe(clips(), clips(1))


def test_other_settings_that_both_sides_have_are_averaged() -> None:
    """A distance is averaged, rather than taken of an average: 0.8 and 1.2 are not 1."""
    below, above = clips(2), clips(2).sample(frac=1, random_state=0)
    below["seam_jump"], above["seam_jump"] = 0.8 + 0.05 * below["run"], 1.2 + 0.05 * above["run"]
    table = with_nfe(below, above.assign(flicker=above["flicker"] + 4))
    found = compared(table)
    by_name = {item.number.name: item for item in found.differences}
    assert "each number is a clip's mean over nfe=4, 8" in found.notes
    assert {item.design.num_pairs for item in found.differences} == {54}
    assert by_name["seam_jump"].difference == pytest.approx((-0.05 + 0.05) / 2)
    assert by_name["seam_jump"].baseline_mean == pytest.approx(1.0)
    alone = {item.number.name: item for item in compared(clips(2)).differences}
    for kind in ("difference", "low", "high", "p_sign_flip"):
        assert getattr(by_name["flicker"], kind) == pytest.approx(getattr(alone["flicker"], kind)), "in any order"


def with_another_portrait() -> pd.DataFrame:
    table = clips()
    table.loc[60, "image_sha256"] = "other"
    return table


BOTH = [*range(30), *range(54, 84)]


@pytest.mark.parametrize(
    ("table", "numbers", "message"),
    [
        (clips(2, 1, 1, 1), None, "there is one pair only, clip 0-0 with seed 0, from which nothing can be told; run"),
        (
            without(clips(), [3]),
            None,
            "solver=s0 and solver=s1 were run on different clips: 1 of 54 of solver=s1",
        ),
        (with_another_portrait(), None, "clip 2-0 with seed 0 has another portrait in solver=s1 than in solver=s0"),
        (
            doubled(),
            None,
            "solver=s0 has clip 0-0 with seed 0 2 times, for nfe=4, 8; choose one, as in solver=s0,nfe",
        ),
        (pd.concat([clips()] * 2), None, "solver=s0 has clip 0-0 with seed 0 2 times, in the runs 0, 0; compare one"),
        (without(clips(), [1, 2], "flicker"), ["flicker"], "flicker is missing in 2 of 54 clips of solver=s0, but not"),
        (
            without(clips(), BOTH, "flicker"),
            ["flicker"],
            "flicker is missing in 30 of 54 clips; measure them, or leave",
        ),
        (
            clips(),
            ["psnr_db"],
            "no clip has a number psnr_db (needs a reference video); measure it, or leave psnr_db out",
        ),
        (clips(), ["fid"], "fid is one number for all clips of a run, so it has no pairs"),
    ],
)
def test_bad_input_is_one_sentence(table: pd.DataFrame, numbers: Sequence[str] | None, message: str) -> None:
    table.attrs.setdefault("settings", ["seed", "solver"])
    with pytest.raises(UserError, match="^" + re.escape(message)):
        compared(table, numbers)


def test_settings_that_do_not_exist_are_one_sentence() -> None:
    with pytest.raises(UserError, match="no run has solver=s9; solver is s0, s1, s2"):
        settings(clips(), ["solver=s9"])
    with pytest.raises(UserError, match="sovler is no setting of these runs; they differ in seed, solver"):
        settings(clips(), ["sovler=s0"])


def test_pairs_without_a_number_on_either_side_are_left_out_and_told() -> None:
    found = compared(without(clips(), [0, 54], "flicker"))
    flicker = next(item for item in found.differences if item.number.name == "flicker")
    assert (flicker.design.num_pairs, str(flicker.design)) == (53, "53 pairs of 6 recordings × 3 portraits × 3 seeds")
    assert found.notes == ["flicker: 1 of 54 pairs left out, without a value on either side"]


def test_equal_values_are_equal() -> None:
    table = clips().assign(
        flicker=0.1 + 0.2, lip_correlation=lambda held: 0.1 * held["solver"].str[1:].astype(int) + 0.7
    )
    table.attrs = clips().attrs
    found = {item.number.name: item for item in compared(table).differences}
    assert (found["flicker"].difference, found["flicker"].p) == (0, 1)
    assert (found["lip_correlation"].low, found["lip_correlation"].p) == (pytest.approx(0.1), 0)


def test_tables_escape_what_records_hold(tmp_path: Path) -> None:
    table = clips(2)
    table["solver"] = table["solver"].replace("s1", r"a|b_$50% \input{x} <b>")
    found = compare(settings(table, []), None, "solver=s0")
    write(found, tmp_path)
    csv, markdown, latex = ((tmp_path / name).read_text() for name in NAMES)
    assert pd.read_csv(tmp_path / "comparison.csv")["setting"][0] == r"a|b_$50% \input{x} <b>"
    assert csv.startswith("metric,setting,baseline,")
    assert r"| a\|b\_\$50% \\input\{x\} \<b\> |" in markdown
    assert r"a\textbar{}b\_\$50\% \textbackslash{}input\{x\} \textless{}b\textgreater{} & " in latex
    assert latex.count(r"\textbf{") == 3
    assert latex.count(r"\underline{") == 1
    assert "<u>" in markdown
    write(found, tmp_path)
    (tmp_path / "comparison.md").write_text("mine")
    with pytest.raises(UserError, match=r"comparison\.md was not written by float-research"):
        write(found, tmp_path)


def test_a_sweep_on_disk_is_compared(tmp_path: Path) -> None:
    for number, (solver, seed) in enumerate(itertools.product(("euler", "midpoint"), (1, 2))):
        names = [(image, audio) for image in "xy" for audio in "abc"]
        made = [
            {
                "id": f"{image}-{audio}",
                "image": f"{image}.png",
                "audio": f"{audio}.wav",
                "seed": 7 if audio == "c" else None,
                "metrics": {"sampling_error": 0.1 * (number // 2 + 1) + 0.01 * place * (number + 1)},
            }
            for place, (image, audio) in enumerate(names)
            if audio != "c" or seed == 1
        ]
        folder = tmp_path / str(number)
        folder.mkdir()
        record = {"overrides": [f"solver={solver}", f"seed={seed}"], "clips": made}
        (folder / "record.json").write_text(json.dumps(record))
    with pytest.warns(UserWarning, match="missing: "):
        table = load_clips(tmp_path)
    assert sorted(set(table["seed"])) == [1, 2, 7], "a clip's own seed counts"
    (error,) = compare(settings(table, []), None, "solver=midpoint").differences
    assert (error.setting, error.baseline, error.design.num_pairs) == ("euler", "midpoint", 10)
    assert error.design.units == {"recording": 3, "portrait": 2, "seed": 3}
    assert error.difference < 0
