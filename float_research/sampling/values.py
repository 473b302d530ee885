"""Checks of the sampler's plain values, without torch, so that a wrong one is refused at once."""

import math

from float_research.errors import UserError


def check_values(*, nfe: int, guidance_reuse: int, temperature: float) -> None:
    """Raises a UserError for a value out of range."""
    if nfe < 1:
        raise UserError(f"nfe={nfe} must be at least 1; the official default is 10")
    if guidance_reuse < 1:
        raise UserError(f"guidance_reuse={guidance_reuse} must be at least 1; 1 means no reuse")
    if not 0 <= temperature < math.inf:
        raise UserError(f"temperature={temperature} must be finite and not negative; 1 leaves the noise unscaled")
