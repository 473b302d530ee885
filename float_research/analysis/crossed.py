"""The uncertainty of a mean over crossed random units: recordings, portraits and seeds.

Paired differences of two settings share their recording, portrait or seed, so rows are not independent. The model is

    d_rps = μ + a_r + b_p + c_s + e_rps,    a, b, c, e independent with mean 0 and variances σ_a², σ_b², σ_c², σ_e²,

with interactions in e. The variance of the mean is `Σ_f σ_f² Σ_l (n_fl / N)² + σ_e² / N` with n_fl pairs of level l. It
is a combination `Σ_k g_k M_k` of the mean squares of an analysis of variance, whose expectations are solved for the
variances (Searle, Casella and McCulloch, Variance Components, 1992, chapter 5, Henderson's method 1). Where few units
make it too small, it is raised to its largest term. The interval is that of Student's t with Satterthwaite's degrees of
freedom (Biometrics Bulletin 2, 1946), `V² / Σ_k ((g_k M_k)² / ν_k)`.

Owen's pigeonhole bootstrap (arXiv 0712.1111) resamples the same units, but of so few its percentile interval holds the
truth too rarely: `tests/analysis/test_statistics.py` measures both, and docs/statistics.md has the figures.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, prod

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from float_research.texts import count

CONFIDENCE, POWER = 0.95, 0.8
NUM_DRAWS, MOST_PAIRS = 4000, 100_000
RESIDUAL = "pair"
"""The name of the variance component of single pairs."""
Array = Float[np.ndarray, "..."] | np.float64


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Means with their standard errors, degrees of freedom, and variance components by factor."""

    mean: Array
    error: Array
    freedom: Array
    components: Mapping[str, Array]

    @property
    def half_width(self) -> Array:
        """Half of the confidence interval's width."""
        return stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom) * self.error

    @property
    def p(self) -> Array:
        """The two-sided p value of a mean of 0; 1 if all differences are 0, and 0 if all are equal but not 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 2 * stats.t.sf(np.abs(self.mean) / self.error, self.freedom)
        return np.where(self.mean == 0, 1.0, found)


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which level of each factor a pair has. Factors with a single level are left out.

    `units`: factor → number of levels. Factors that group the pairs in the same way are one, named by both.
    """

    units: Mapping[str, int]
    levels: Sequence[Int[np.ndarray, " n"]]
    num_pairs: int

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Design":
        """Returns the design of a table with a row per pair and a column per factor."""
        found: dict[bytes, tuple[list[str], np.ndarray]] = {}
        for name in table:
            codes = pd.factorize(table[name])[0]
            if codes.max() > 0:
                found.setdefault(codes.tobytes(), ([], codes))[0].append(str(name))
        return cls(
            units={" and ".join(names): int(codes.max()) + 1 for names, codes in found.values()},
            levels=[codes for _, codes in found.values()],
            num_pairs=len(table),
        )

    def __str__(self) -> str:
        counts = " × ".join(count(number, name) for name, number in self.units.items())
        if prod(self.units.values()) == self.num_pairs:
            return counts
        return count(self.num_pairs, "pair") + (f" of {counts}" if counts else "")

    @property
    def most(self) -> str | None:
        """The factor with the most units; None if no factor has several."""
        return max(self.units, key=self.units.__getitem__, default=None)

    def means(self, values: Float[np.ndarray, " n"], name: str) -> Float[np.ndarray, " l"]:
        """Returns the mean of the values at each level of a factor."""
        codes = self.levels[list(self.units).index(name)]
        return np.bincount(codes, values) / np.bincount(codes)

    def estimate(self, differences: Float[np.ndarray, "... n"]) -> Estimate:
        """Estimates the means over the last axis."""
        mean = differences.mean(-1)
        centred = differences - mean[..., None]
        scale = np.abs(differences).max(-1, keepdims=True)
        centred = np.where(np.abs(centred) > 1e-12 * scale, centred, 0.0)  # equal but for rounding
        squares = self._mean_squares(centred)
        inverse = np.linalg.pinv(self._expected)
        found = np.maximum(np.tensordot(inverse, squares, 1), 0)
        shares = np.tensordot(np.diag(self._weights @ inverse), squares, 1)
        variance, freedom = combine(shares, self._weights[-1] * squares[-1], self._freedom)
        return Estimate(
            mean=mean,
            error=np.sqrt(variance),
            freedom=freedom,
            components=dict(zip((*self._factors, RESIDUAL), found, strict=True)),
        )

    def ratio(self, x: Float[np.ndarray, "... n"], y: Float[np.ndarray, "... n"]) -> Estimate:
        """Estimates ratios of means, `R = mean(x) / mean(y)`, over the last axis.

        The error is that of the mean of the linearised residuals `(x - R y) / mean(y)` (delta method).
        """
        base = y.mean(-1)
        found = x.mean(-1) / base
        return replace(self.estimate((x - found[..., None] * y) / base[..., None]), mean=found)

    @cached_property
    def _factors(self) -> dict[str, Float[np.ndarray, "n l"]]:
        """The indicators of the random factors: those that the pairs tell apart from the residual."""
        kept = {
            name: np.eye(number)[codes]
            for (name, number), codes in zip(self.units.items(), self.levels, strict=True)
            if number < self.num_pairs
        }
        while kept and self._basis(kept).shape[1] >= self.num_pairs:
            kept.popitem()
        return kept

    @cached_property
    def _explained(self) -> Float[np.ndarray, "n r"]:
        return self._basis(self._factors)

    def _basis(self, factors: Mapping[str, np.ndarray]) -> Float[np.ndarray, "n r"]:
        """Returns an orthonormal basis of what the factors and a constant explain."""
        table = np.hstack([np.ones((self.num_pairs, 1)), *factors.values()])
        size, vectors = np.linalg.eigh(table.T @ table)
        kept = size > 1e-9 * size[-1]
        return table @ (vectors[:, kept] / np.sqrt(size[kept]))

    def _mean_squares(self, centred: Float[np.ndarray, "... n"]) -> Float[np.ndarray, "f ..."]:
        """Returns the mean square of each factor and of the residual."""
        between = [((centred @ table) ** 2 / table.sum(0)).sum(-1) for table in self._factors.values()]
        rest = (centred**2).sum(-1) - ((centred @ self._explained) ** 2).sum(-1)
        squares = np.stack([*between, np.maximum(rest, 0)])
        return squares / self._freedom[(..., *[None] * (centred.ndim - 1))]

    @cached_property
    def _freedom(self) -> Float[np.ndarray, " f"]:
        rank = self._explained.shape[1]
        return np.array([*(table.shape[1] - 1 for table in self._factors.values()), self.num_pairs - rank], dtype=float)

    @cached_property
    def _expected(self) -> Float[np.ndarray, "f f"]:
        """The expectation of each mean square (rows) by variance component (columns)."""
        tables = list(self._factors.values())
        matrix = np.ones((len(tables) + 1, len(tables) + 1))
        for (i, own), (j, other) in itertools.product(enumerate(tables), enumerate(tables)):
            shared = ((own.T @ other) ** 2).sum(1) / own.sum(0)
            matrix[i, j] = (shared.sum() - (other.sum(0) ** 2).sum() / self.num_pairs) / self._freedom[i]
        matrix[-1, :-1] = 0
        return matrix

    @cached_property
    def _weights(self) -> Float[np.ndarray, " f"]:
        """The weight of each variance component in the variance of the mean."""
        own = [(table.sum(0) ** 2).sum() / self.num_pairs**2 for table in self._factors.values()]
        return np.array([*own, 1 / self.num_pairs])


def combine(shares: Float[np.ndarray, "f ..."], least: Array, freedom: Float[np.ndarray, " f"]) -> tuple[Array, Array]:
    """Returns the variance of the mean and its degrees of freedom, from each mean square's share of it.

    The variance is at least the share of any one factor, and `least`, that of independent pairs.
    """
    variance = np.maximum(np.maximum(shares.sum(0), shares.max(0)), least)
    spread = np.tensordot(1 / freedom, shares**2, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(spread > 0, variance**2 / spread, 1)
    return variance, np.clip(found, 1, freedom.sum())


def detectable(components: Mapping[str, float], units: Mapping[str, int], num_pairs: int) -> float:
    """Returns the least true mean that a design finds with a probability of `POWER`, given variances of single pairs.

    It is the quantile `POWER` of `half width - mean` over draws of the mean and of the mean squares that the estimate
    is computed from, `MS_f ~ (σ_e² + σ_f² N / n_f) χ²_df / df` of a balanced design.
    """
    random = np.random.default_rng(0)
    crossed = {name: number for name, number in units.items() if name in components}
    freedom = np.array([*(number - 1 for number in crossed.values()), 0], dtype=float)
    freedom[-1] = max(1, num_pairs - 1 - freedom.sum())
    added = [components[name] * num_pairs / number for name, number in crossed.items()]
    expected = components[RESIDUAL] + np.array([*added, 0])
    squares = (expected * random.chisquare(freedom, (NUM_DRAWS, len(freedom))) / freedom).T
    mean = random.standard_normal(NUM_DRAWS) * np.sqrt((components[RESIDUAL] + sum(added)) / num_pairs)
    shares = np.concatenate([squares[:-1], (1 - len(added)) * squares[-1:]]) / num_pairs
    variance, found = combine(shares, squares[-1] / num_pairs, freedom)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, found) * np.sqrt(variance)
    return float(np.quantile(half - mean, POWER))


def needed(
    components: Mapping[str, float], units: Mapping[str, int], num_pairs: int, mean: float
) -> tuple[dict[str, int], int] | None:
    """Returns units, and their pairs, that make a mean detectable; None if it takes more than `MOST_PAIRS`.

    It adds units of the factor that brings most per pair, with the present share of the complete crossing.
    """
    planned, share = dict(units), num_pairs / prod(units.values())

    def result(plan: Mapping[str, int]) -> tuple[float, int]:
        pairs = ceil(share * prod(plan.values()))
        return detectable(components, plan, pairs), pairs

    now, pairs = result(planned)
    while now > mean:
        more = [planned | {name: max(number + 1, ceil(1.1 * number))} for name, number in planned.items()]
        tried = [(*result(plan), plan) for plan in more]
        now, pairs, planned = max(tried, key=lambda found: (now - found[0]) / (found[1] - pairs))
        if pairs > MOST_PAIRS:
            return None
    return planned, pairs
