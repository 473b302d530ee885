"""Every picture of the table is read with the right colours, or rejected with the right error."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from float_research.data.image import read_image, register_heif
from float_research.errors import UserError
from float_research.media import Limits
from media_cases.pictures import CASES, Case

LIMITS = Limits(
    megapixels=60, aspect=10, min_rate_hz=4000, max_rate_hz=768000, channels=8, hours=2, download_mb=500, download_s=60
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_picture_is_read_correctly(case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = case.build(tmp_path)
    if case.refusal is not None:
        with pytest.raises(UserError, match=case.refusal) as told:
            read_image(path, "blue", LIMITS)
        assert str(path) in str(told.value)
        return
    with caplog.at_level(logging.WARNING):
        image = read_image(path, "blue", LIMITS)
    assert (image.shape[1], image.shape[0]) == case.size
    for x, colour in zip((4, 27), case.colours, strict=True):
        assert np.abs(image[10, x].astype(float) - colour).max() <= case.within, (x, image[10, x], colour)
    messages = [record.getMessage() for record in caplog.records]
    if case.told is None:
        assert messages == []
    else:
        assert case.told in messages[0]
        assert str(path) in messages[0]


def test_heic_is_registered_automatically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unregisters HEIC first, because building the other cases has registered it."""
    (case,) = (case for case in CASES if case.name == "HEIC")
    path = case.build(tmp_path)
    monkeypatch.delitem(PillowImage.OPEN, "HEIF")
    monkeypatch.setattr(PillowImage, "ID", [format for format in PillowImage.ID if format != "HEIF"])
    register_heif.cache_clear()
    assert read_image(path, "blue", LIMITS).shape == (20, 32, 3)
