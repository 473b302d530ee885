"""Ranks of several settings: Friedman's test, and the critical difference of Nemenyi's.

Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006): with average ranks R over N
blocks of k settings, two differ at 5 % if `|R_i - R_j| ≥ q_k √(k (k + 1) / (6 N))`, where `q_k √2` is the 95 % quantile
of the studentized range of k normal variables.

Blocks must be independent, which clips of one recording are not. A block is therefore a level of the factor with the
most units, mostly a recording: settings are ranked by their means over its portraits and seeds, taken as fixed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from float_research.analysis.crossed import CONFIDENCE
from float_research.analysis.pairs import Paired
from float_research.metrics.metric import Number
from float_research.texts import count


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Average ranks of settings in one number, 1 for the best.

    `p`: of Friedman's test, not corrected over numbers. `critical`: the least difference of two average ranks that is
    significant at 5 %, corrected over the pairs of settings. `blocks`: what was ranked, such as `6 recordings`.
    """

    number: Number
    mean: Mapping[str, float]
    p: float
    critical: float
    blocks: str

    def alike(self) -> Iterator[tuple[float, float]]:
        """Yields the first and last rank of each largest group without a significant difference, best first.

        If Friedman's test finds no difference, that is all settings.
        """
        ranks = sorted(self.mean.values())
        if self.p >= 1 - CONFIDENCE:
            yield ranks[0], ranks[-1]
            return
        covered = ranks[0]
        for first in ranks:
            last = max(rank for rank in ranks if rank - first < self.critical)
            if last > max(covered, first):
                yield first, last
                covered = last


def rank(row: Paired) -> Ranks:
    """Ranks three or more settings in a number that has a better direction."""
    top = row.design.most
    blocks = row.worth if top is None else np.stack([row.design.means(own, top) for own in row.worth])
    (k, n), size = blocks.shape, np.abs(blocks).max()
    ranks = stats.rankdata(np.round(-blocks / size, 12) if size > 0 else blocks, axis=0)  # equal but for rounding
    found = 1.0 if np.ptp(ranks) == 0 else float(stats.friedmanchisquare(*ranks).pvalue)
    return Ranks(
        number=row.number,
        mean=dict(zip(row.labels, ranks.mean(1).tolist(), strict=True)),
        p=found,
        critical=critical_difference(k, n),
        blocks=count(n, top or "clip"),
    )


def critical_difference(num_settings: int, num_blocks: int) -> float:
    """Returns Nemenyi's critical difference of average ranks at 5 %."""
    quantile = float(stats.studentized_range.ppf(CONFIDENCE, num_settings, np.inf)) / sqrt(2)
    return quantile * sqrt(num_settings * (num_settings + 1) / (6 * num_blocks))
