"""What votes say: preference shares, agreement between raters, and strengths of settings.

Votes count as independent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import optimize, stats
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from float_research.analysis.crossed import CONFIDENCE
from float_research.analysis.statistics import holm, said_p, shortened
from float_research.texts import count

GTOL = 1e-9
VALUES = (1, 0, -1)
"""The first setting is preferred, no difference, the second is."""


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Votes on two settings.

    `share`: of the votes for `first` among the decided ones, with Wilson's 95 % interval; votes for no difference are
    left out of it, as the sign test does. NaN if no vote is decided. `p`: of the two-sided exact sign test, by Holm's
    correction over all pairs.
    """

    first: str
    second: str
    num_first: int
    num_second: int
    num_same: int
    num_raters: int
    share: float
    low: float
    high: float
    p: float

    @property
    def num_votes(self) -> int:
        return self.num_first + self.num_second + self.num_same

    def __str__(self) -> str:
        """Returns a sentence for a paper."""
        num_decided = self.num_first + self.num_second
        of = f"{count(self.num_votes, 'vote')} of {count(self.num_raters, 'rater')}"
        if num_decided == 0:
            return f"{self.first} and {self.second}: no difference in all of {of}"
        winner, loser, share, low, high = self.first, self.second, self.share, self.low, self.high
        if share < 0.5:
            winner, loser, share, low, high = loser, winner, 1 - share, 1 - high, 1 - low
        said = (
            f"{100 * share:.0f} % [{100 * low:.0f} %, {100 * high:.0f} %] of {count(num_decided, 'decided vote')}; "
            f"{of}, {self.num_same} without a difference, p {said_p(self.p)}"
        )
        if self.p < 1 - CONFIDENCE:
            return f"{winner} is preferred to {loser} in {said}"
        return f"{winner} and {loser} are not separable: {winner} is preferred in {said}"


@dataclass(frozen=True, kw_only=True)
class Strength:
    """A setting's Bradley-Terry strength: the natural logarithm, with mean 0 over settings, and its 95 % interval."""

    setting: str
    num_votes: int
    strength: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Poll:
    """All that votes say.

    `alpha`: Krippendorff's, NaN where it is undefined. `num_shared`: comparisons that several raters judged. `lefts`
    and `num_decided`: votes for the left side among the decided ones. `notes`: what could not be computed, and why.
    """

    preferences: Sequence[Preference]
    strengths: Sequence[Strength]
    alpha: float
    num_shared: int
    num_raters: int
    lefts: int
    num_decided: int
    notes: Sequence[str]

    def __str__(self) -> str:
        """Returns what is known of the raters in one sentence."""
        said = f"{count(self.num_raters, 'rater')}; the left video was chosen in {self.lefts} of {self.num_decided} "
        said += "decided votes"
        if math.isnan(self.alpha):
            return said
        return f"{said}; Krippendorff's alpha {self.alpha:.2f} in {count(self.num_shared, 'shared comparison')}"


def poll(votes: pd.DataFrame) -> Poll:
    """Evaluates votes of `read_votes`."""
    names = list(dict.fromkeys([*votes["first"], *votes["second"]]))
    short = dict(zip(names, shortened(names), strict=True))
    votes = votes.assign(first=votes["first"].map(short), second=votes["second"].map(short))
    of_pairs = votes.groupby(["first", "second"], sort=False)
    found = [_preference(str(pair[0]), str(pair[1]), own) for pair, own in of_pairs]
    adjusted = holm(np.array([item.p for item in found]))
    preferences = [replace(item, p=float(p)) for item, p in zip(found, adjusted, strict=True)]
    strengths, notes = _strengths(preferences)
    counts = _judgements(votes)
    alpha = krippendorff(counts)
    num_shared = int((counts.sum(1) > 1).sum()) // 2
    if num_shared == 0:
        notes.append("no comparison was judged by several raters, so nothing is known of their agreement")
    elif math.isnan(alpha):
        notes.append("no rater saw a difference in any shared comparison, so agreement has no measure")
    return Poll(
        preferences=preferences,
        strengths=strengths,
        alpha=alpha,
        num_shared=num_shared,
        num_raters=votes["rater"].nunique(),
        lefts=int((votes["choice"] == "left").sum()),
        num_decided=int((votes["value"] != 0).sum()),
        notes=notes,
    )


def _preference(first: str, second: str, votes: pd.DataFrame) -> Preference:
    wins, same, losses = (int((votes["value"] == value).sum()) for value in VALUES)
    share, low, high, p = share_of(wins, losses)
    return Preference(
        first=first,
        second=second,
        num_first=wins,
        num_second=losses,
        num_same=same,
        num_raters=votes["rater"].nunique(),
        share=share,
        low=low,
        high=high,
        p=p,
    )


def share_of(wins: int, losses: int) -> tuple[float, float, float, float]:
    """Returns the share of wins, Wilson's 95 % interval, and p of the two-sided exact sign test."""
    if wins + losses == 0:
        return math.nan, math.nan, math.nan, 1.0
    found = stats.binomtest(wins, wins + losses)
    interval = found.proportion_ci(CONFIDENCE, method="wilson")
    return wins / (wins + losses), float(interval.low), float(interval.high), float(found.pvalue)


def _judgements(votes: pd.DataFrame) -> Int[np.ndarray, "u 3"]:
    """Returns how many raters gave each of `VALUES` in each comparison of a clip and two settings.

    Each comparison is there in both orders of its settings, so that agreement by chance depends on neither.
    """
    table = pd.crosstab([votes[name] for name in ("clip", "seed", "first", "second")], votes["value"])
    counts = table.reindex(columns=list(VALUES), fill_value=0).to_numpy()
    return np.concatenate([counts, counts[:, ::-1]])


def krippendorff(counts: Int[np.ndarray, "u k"]) -> float:
    r"""Returns Krippendorff's alpha of nominal values, from how many raters gave each value (columns) to each unit.

    $\alpha = 1 - (n - 1) \frac{n - \sum_u \sum_k n_{uk} (n_{uk} - 1) / (m_u - 1)}{n^2 - \sum_k n_k^2}$ over units with
    $m_u \ge 2$ values (Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011). NaN if all values are equal.
    """
    held = counts[counts.sum(1) > 1].astype(float)
    sizes, total = held.sum(1), held.sum()
    chance = total**2 - np.square(held.sum(0)).sum()
    if chance == 0:
        return math.nan
    agreed = float(((held * (held - 1)).sum(1) / (sizes - 1)).sum())
    return float(1 - (total - 1) * (total - agreed) / chance)


def _strengths(preferences: Sequence[Preference]) -> tuple[list[Strength], list[str]]:
    """Returns the strengths, strongest first, or a note on why there are none."""
    names = list(dict.fromkeys(name for item in preferences for name in (item.first, item.second)))
    place = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for item in preferences:
        first, second = place[item.first], place[item.second]
        wins[first, second] += item.num_first + item.num_same / 2
        wins[second, first] += item.num_second + item.num_same / 2
    if note := _unbounded(names, wins):
        return [], [note]
    strengths, errors = bradley_terry(wins)
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * errors
    numbers = wins.sum(0) + wins.sum(1)
    found = [
        Strength(setting=name, num_votes=round(number), strength=float(own), low=float(own - h), high=float(own + h))
        for name, number, own, h in zip(names, numbers, strengths, half, strict=True)
    ]
    return sorted(found, key=lambda item: -item.strength), []


def _unbounded(names: Sequence[str], wins: Float[np.ndarray, "s s"]) -> str | None:
    """Returns why no finite strengths exist: settings of which none ever won against any of the others (Ford, 1957)."""
    number, group = connected_components(wins > 0, connection="strong")
    if number == 1:
        return None
    for own in range(number):
        inside = group == own
        if not wins[np.ix_(inside, ~inside)].any():
            who = ", ".join(name for name, held in zip(names, inside, strict=True) if held)
            met = wins[np.ix_(~inside, inside)].any()
            what = "never won or drew against the other settings" if met else "were never compared with the others"
            return f"there are no finite Bradley-Terry strengths: {who} {what}; gather more votes"
    raise AssertionError("a directed acyclic graph has a sink")


def bradley_terry(wins: Float[np.ndarray, "s s"]) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    r"""Returns maximum-likelihood log strengths with mean 0, and their standard errors.

    `wins[i, j]`: how often i was preferred to j, a draw as half a win of each. $P(i \succ j) = \sigma(\theta_i -
    \theta_j)$. The errors are those of the inverse Fisher information.
    """
    played = wins + wins.T

    def cost(theta: Float[np.ndarray, " s"]) -> tuple[float, Float[np.ndarray, " s"]]:
        apart = theta[:, None] - theta
        missing = wins * expit(-apart)
        return float((wins * np.logaddexp(0, -apart)).sum()), missing.sum(0) - missing.sum(1)

    def information(theta: Float[np.ndarray, " s"]) -> Float[np.ndarray, "s s"]:
        apart = theta[:, None] - theta
        weights = played * expit(apart) * expit(-apart)
        return np.diag(weights.sum(1)) - weights

    found = optimize.minimize(
        cost, np.zeros(len(wins)), jac=True, hess=information, method="trust-exact", options={"gtol": GTOL}
    )
    theta = found.x - found.x.mean()
    return theta, np.sqrt(np.diag(np.linalg.pinv(information(theta), hermitian=True)))


def tables(found: Poll) -> Mapping[str, pd.DataFrame]:
    """Returns the tables to write, by file name."""
    pairs = [
        {
            "first": item.first,
            "second": item.second,
            "votes_first": item.num_first,
            "votes_second": item.num_second,
            "votes_same": item.num_same,
            "raters": item.num_raters,
            "share_first": item.share,
            "low": item.low,
            "high": item.high,
            "p": item.p,
        }
        for item in found.preferences
    ]
    names = ["setting", "votes", "strength", "low", "high"]
    strengths = [[item.setting, item.num_votes, item.strength, item.low, item.high] for item in found.strengths]
    return {
        "preferences.csv": pd.DataFrame(pairs),
        "strengths.csv": pd.DataFrame(strengths, columns=names),
    }
