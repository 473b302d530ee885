"""Is the difference real? Paired comparisons of settings: intervals, corrected tests, detectable differences."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from float_research.analysis.crossed import CONFIDENCE, POWER, Design, detectable, needed
from float_research.analysis.numbers import declared, known_metrics
from float_research.analysis.pairs import Groups, Paired, doubts, matched, pair, values_of
from float_research.analysis.ranks import Ranks, rank
from float_research.errors import UserError
from float_research.metrics.metric import Better, Number
from float_research.texts import count

LEVEL = 1 - CONFIDENCE
NUM_FLIPS = 9999


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference `setting - baseline` of one number.

    `better` of the number says what counts: where it is a value, such as 1 for `seam_jump`, differences are those of
    the distance to it. `low` and `high`: the 95 % interval, not corrected. `p`: of Student's t, by Holm's correction
    over all differences of the comparison. `p_sign_flip`: of a permutation test on the means of the recordings (or of
    whatever factor has the most units), which assumes no distribution, but takes the other factors as fixed; not
    corrected. `effect`: the mean difference over the standard deviation of the pairs, NaN if all are equal.
    `detectable`: the least true difference that these pairs show with a power of 80 % at p < 0.05.
    """

    number: Number
    setting: str
    baseline: str
    mean: float
    baseline_mean: float
    difference: float
    low: float
    high: float
    p: float
    p_sign_flip: float
    effect: float
    detectable: float
    design: Design
    components: Mapping[str, float]

    @property
    def separable(self) -> bool:
        return self.p < LEVEL

    def shown(self) -> tuple[str, str, str]:
        """Returns the setting's mean, the difference and its interval, rounded."""
        half = (self.high - self.low) / 2
        mean, difference, low, high = (
            rounded(value, half) for value in (self.mean, self.difference, self.low, self.high)
        )
        return mean, difference, f"[{low}, {high}]"

    def needed(self, difference: float) -> str:
        """Returns about how many pairs make a true difference detectable."""
        design = self.design
        found = needed(self.components, design.units or {"clip": design.num_pairs}, design.num_pairs, difference)
        if found is None:
            return "more than can be planned"
        units, pairs = found
        return f"about {pairs} ({' × '.join(count(number, name) for name, number in units.items())})"

    def __str__(self) -> str:
        """Returns a sentence for a paper."""
        half = (self.high - self.low) / 2
        what = self.number.name
        if isinstance(self.number.better, float):
            what += f" (distance to {self.number.better:g})"
        test = f"{self.design}, paired, p {said_p(self.p)}"
        if not self.separable:
            said = f"{self.setting} and {self.baseline} are not separable in {what}: difference "
            said += f"{' '.join(self.shown()[1:])}, {test}"
            if self.detectable <= 0:
                return said
            shown = float(f"{self.detectable:.2g}")
            return (
                f"{said}; with {count(self.design.num_pairs, 'pair')} you can see {shown:g} (power {100 * POWER:g} %); "
                f"for {shown / 2:g} you need {self.needed(shown / 2)}"
            )
        up = self.difference > 0
        wins = up == (self.number.better in (Better.HIGHER, None))
        first, second = (self.setting, self.baseline) if wins else (self.baseline, self.setting)
        low, high = sorted((abs(self.low), abs(self.high)))
        verb = f"is higher than {second}" if self.number.better is None else f"beats {second}"
        by = f"{rounded(abs(self.difference), half)} [{rounded(low, half)}, {rounded(high, half)}]"
        return f"{first} {verb} in {what} by {by}, {test}"


@dataclass(frozen=True, kw_only=True)
class Contrasts:
    """Differences of all settings to a baseline.

    `means`: a row per setting, a column per number. `best`: number → the setting with the best mean. `inseparable`:
    number → the other settings whose difference to the best is not significant, corrected over all pairs of settings.
    `ranks`: of the numbers with a better direction, for three or more settings. `notes`: what was left out.
    """

    differences: Sequence[Difference]
    means: pd.DataFrame
    best: Mapping[str, str]
    inseparable: Mapping[str, frozenset[str]]
    ranks: Sequence[Ranks]
    notes: Sequence[str]


def compare(groups: Groups, numbers: Sequence[str] | None, baseline: str) -> Contrasts:
    """Compares all settings with the baseline, paired by clip and seed.

    `numbers`: metrics or costs; None for the headline metrics, of which those that cannot be compared become notes.

    Raises:
        UserError: clips occur twice, differ between settings or are too few, or a number is missing.
    """
    if baseline not in groups:
        raise UserError(f"the baseline {baseline} is none of {', '.join(groups)}")
    if len(groups) < 2:
        raise UserError(f"{', '.join(groups) or 'nothing'} is all there is to compare; give two settings or runs")
    rows, untold, notes = paired(groups, headlines(groups) if numbers is None else numbers)
    if untold and numbers is not None:
        raise UserError(next(iter(untold.values())))
    notes += untold.values()
    if not rows:
        raise UserError("; ".join(notes) or "the clips have no headline metric; name some with --numbers")
    baseline = rows[0].labels[list(groups).index(baseline)]
    differences = [
        Difference(
            number=row.number,
            setting=label,
            baseline=baseline,
            mean=row.means[label],
            baseline_mean=row.means[baseline],
            design=row.design,
            **measured(row.compared[place], row.compared[row.labels.index(baseline)], row.design),
        )
        for row in rows
        for place, label in enumerate(row.labels)
        if label != baseline
    ]
    corrected = holm(np.array([item.p for item in differences]))
    best, inseparable = leaders(rows)
    return Contrasts(
        differences=[replace(item, p=float(p)) for item, p in zip(differences, corrected, strict=True)],
        means=pd.DataFrame({row.number.name: row.means for row in rows}),
        best=best,
        inseparable=inseparable,
        ranks=[rank(row) for row in rows if row.best is not None and len(row.labels) > 2],
        notes=[*doubts(groups), *notes],
    )


def paired(groups: Groups, numbers: Sequence[str]) -> tuple[list[Paired], dict[str, str], list[str]]:
    """Returns numbers over the pairs of all settings, why others cannot be compared, and notes on what was left out.

    Raises:
        UserError: the settings have no pairs.
    """
    parts = matched(groups)
    (pairs, base), *others = (pair(part) for part in parts.values())
    frames = [base]
    for own, each in others:
        if not own.index.sort_values().equals(pairs.index.sort_values()):
            pair(groups)  # which says that clips occur twice
        frames.append({label: frame.loc[pairs.index] for label, frame in each.items()})
    rows, untold, notes = [], dict[str, str](), []
    if others:
        notes.append(f"each number is a clip's mean over {joined(parts)}")
    for name in numbers:
        try:
            runs = np.stack([values_of(name, each) for each in frames], axis=2)
        except UserError as error:
            untold[name] = str(error)
            continue
        held = np.isfinite(runs).all((0, 2))
        if not held.all():
            notes.append(
                f"{name}: {(~held).sum()} of {count(len(held), 'pair')} left out, without a value on either side"
            )
        rows.append(
            Paired(
                number=declared(name),
                labels=shortened(list(groups)),
                runs=runs[:, held],
                design=Design.of(pairs[held]),
            )
        )
    return rows, untold, notes


def joined(parts: Iterable[str]) -> str:
    """Joins the names of settings: `nfe=4`, `nfe=8` → `nfe=4, 8`."""
    words = [part.partition("=") for part in parts]
    one = len({name for name, _, _ in words}) == 1 and all("," not in value for _, _, value in words)
    return f"{words[0][0]}={', '.join(value for _, _, value in words)}" if one else "; ".join(map("".join, words))


def leaders(rows: Sequence[Paired]) -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """Returns `best` and `inseparable` of `Contrasts`."""
    differ = separable(rows)
    inseparable = {
        row.number.name: frozenset(
            label
            for place, label in enumerate(row.labels)
            if place != row.best and not differ[row.number.name, min(place, row.best), max(place, row.best)]
        )
        for row in rows
        if row.best is not None
    }
    return {row.number.name: row.labels[row.best] for row in rows if row.best is not None}, inseparable


def separable(rows: Sequence[Paired]) -> dict[tuple[str, int, int], bool]:
    """Returns whether two settings differ in a number, corrected over all pairs of settings and all numbers.

    Keys are the number's name and the places of the settings, the lower first.
    """
    tests: dict[tuple[str, int, int], float] = {}
    for row in rows:
        for one in range(len(row.labels) - 1):
            p = np.atleast_1d(row.design.estimate(row.compared[one] - row.compared[one + 1 :]).p)
            tests |= {(row.number.name, one, other): p for other, p in enumerate(p.tolist(), one + 1)}
    return dict(zip(tests, (holm(np.array(list(tests.values()))) < LEVEL).tolist(), strict=True))


def measured(setting: Float[np.ndarray, " n"], baseline: Float[np.ndarray, " n"], design: Design) -> dict[str, Any]:
    """Returns the entries of a `Difference` that are computed from the pairs, with p not corrected yet."""
    apart = setting - baseline
    found = design.estimate(apart)
    mean, half, deviation = float(found.mean), float(found.half_width), float(apart.std(ddof=1))
    components = {name: float(part) for name, part in found.components.items()}
    return {
        "difference": mean,
        "low": mean - half,
        "high": mean + half,
        "p": float(found.p),
        "p_sign_flip": sign_flip(setting, baseline, design),
        "effect": mean / deviation if deviation > 0 else math.nan,
        "detectable": detectable(components, design.units, design.num_pairs),
        "components": components,
    }


def sign_flip(setting: Float[np.ndarray, " n"], baseline: Float[np.ndarray, " n"], design: Design) -> float:
    """Returns the p value of a paired permutation test on the means of the factor with the most units.

    It is exact up to 13 units, beyond which `NUM_FLIPS` random assignments are drawn.
    """
    means = [values if design.most is None else design.means(values, design.most) for values in (setting, baseline)]
    found = stats.permutation_test(
        means,
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=NUM_FLIPS,
        random_state=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Adjusts p values by Holm (1979): the family-wise error holds under any dependence."""
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def headlines(groups: Groups) -> list[str]:
    """Returns the headline metrics of which any clip knows something, be it why it lacks them."""
    return [
        name
        for name, number in known_metrics().items()
        if number.headline and any(name in clips and clips[name].notna().any() for clips in groups.values())
    ]


def shortened(labels: Sequence[str]) -> list[str]:
    """Returns labels without what all share; the values alone where one setting is left: `solver=euler` → `euler`."""
    words = [label.split(",") for label in labels]
    if all("=" in word for own in words for word in own):
        shared = set.intersection(*map(set, words))
        kept = [[word for word in own if word not in shared] for own in words]
        labels = [",".join(own) for own in kept] if all(kept) else labels
    parts = [label.partition("=") for label in labels]
    one = len({name for name, _, _ in parts}) == 1 and all(sign and "," not in value for _, sign, value in parts)
    return [value for _, _, value in parts] if one else list(labels)


def rounded(value: float, half: float) -> str:
    """Formats a value to two digits of its interval's half width."""
    if not (half > 0 and math.isfinite(half)):
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(half))
    return f"{value:z.{max(0, digits)}f}" if digits < 8 else f"{value:.3g}"


def said_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"
