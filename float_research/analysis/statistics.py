"""Is the difference real? Paired comparisons of settings: intervals, corrected tests, detectable differences."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from float_research.analysis.crossed import CONFIDENCE, POWER, Design, count, detectable, needed
from float_research.analysis.numbers import declared, known_metrics
from float_research.analysis.pairs import Groups, doubts, pair, values_of
from float_research.errors import UserError
from float_research.metrics.metric import Better, Number

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
                f"{said}; with these {self.design.num_pairs} pairs you can see {shown:g} (power {100 * POWER:g} %); "
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
    `notes`: what was left out.
    """

    differences: Sequence[Difference]
    means: pd.DataFrame
    best: Mapping[str, str]
    inseparable: Mapping[str, frozenset[str]]
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
    pairs, frames = pair(groups)
    labels, notes = shortened(list(groups)), doubts(groups)
    baseline = labels[list(groups).index(baseline)]
    rows: list[Difference] = []
    tests: dict[tuple[str, frozenset[str]], float] = {}
    means: dict[str, dict[str, float]] = {}
    best: dict[str, str] = {}
    for name in headlines(groups) if numbers is None else numbers:
        number = declared(name)
        try:
            values = values_of(name, frames)
        except UserError as error:
            if numbers is not None:
                raise
            notes.append(str(error))
            continue
        held = np.isfinite(values).all(0)
        if not held.all():
            notes.append(f"{name}: {(~held).sum()} of {len(held)} pairs have no value on either side and are left out")
        design, of = Design.of(pairs[held]), dict(zip(labels, values[:, held], strict=True))
        means[name] = {label: float(own.mean()) for label, own in of.items()}
        if isinstance(number.better, float):
            of = {label: np.abs(own - number.better) for label, own in of.items()}
        if number.better is not None:
            sign = 1 if number.better == Better.HIGHER else -1
            worth = {label: sign * float(own.mean()) for label, own in of.items()}
            best[name] = max(worth, key=worth.__getitem__)
        for pair_of in itertools.combinations(labels, 2):
            first, second = (of[label] for label in pair_of)
            tests[name, frozenset(pair_of)] = float(design.estimate(first - second).p)
        rows += [
            Difference(
                number=number,
                setting=label,
                baseline=baseline,
                mean=means[name][label],
                baseline_mean=means[name][baseline],
                design=design,
                **measured(of[label], of[baseline], design),
            )
            for label in labels
            if label != baseline
        ]
    if not rows:
        raise UserError("; ".join(notes) or "the clips have no headline metric; name some with --numbers")
    corrected = holm(np.array([row.p for row in rows]))
    apart = dict(zip(tests, holm(np.array(list(tests.values()))) < LEVEL, strict=True))
    return Contrasts(
        differences=[replace(row, p=float(p)) for row, p in zip(rows, corrected, strict=True)],
        means=pd.DataFrame(means, index=labels),
        best=best,
        inseparable={
            name: frozenset(label for label in labels if label != first and not apart[name, frozenset((first, label))])
            for name, first in best.items()
        },
        notes=notes,
    )


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
    top = max(design.units, key=lambda name: design.units[name], default=None)
    means = [values if top is None else design.means(values, top) for values in (setting, baseline)]
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
