"""Prints the figures of docs/statistics.md: coverage of intervals, family-wise errors and power, in simulations."""

import numpy as np
from test_statistics import EFFECTS, FACTORS, RATIO, UNITS, coverage, crossing, of_pairs, pigeonhole, ratios, simulated

from float_research.analysis.crossed import RESIDUAL, detectable
from float_research.analysis.statistics import holm

if __name__ == "__main__":
    design = crossing(*UNITS)
    for name, deviations in {**EFFECTS, "of none": (0.0, 0.0, 0.0, 1.0)}.items():
        drawn = simulated(deviations, 10_000, seed=5)
        p = design.estimate(simulated(deviations, 1000, 8, seed=6)).p
        components = dict(zip((*FACTORS, RESIDUAL), np.square(deviations).tolist(), strict=True))
        least = detectable(components, design.units, design.num_pairs)
        print(
            f"effects {name}: interval {coverage(design.estimate(drawn)):.3f},",
            f"pigeonhole {pigeonhole(drawn[:2000], 1000):.3f}, pairs {of_pairs(drawn):.3f};",
            f"family-wise error {np.mean([holm(row).min() < 0.05 for row in p]):.3f},",
            f"uncorrected {np.mean(p.min(1) < 0.05):.3f};",
            f"ratio {coverage(crossing(*UNITS).ratio(*ratios(deviations, 10_000)), RATIO):.3f};",
            f"power {np.mean(design.estimate(drawn + least).p < 0.05):.3f}",
        )
