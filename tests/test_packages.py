"""Torchmetrics, deferred while Lightning is imported, is the same package as ever."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BEGIN = """
import sys
from float_research import packages
with packages.importing():
    import lightning
    from torchmetrics import Metric
assert "scipy.signal" not in sys.modules and "torchmetrics.text" not in sys.modules
assert not any(isinstance(each, packages._Defer) for each in sys.meta_path)
import torchmetrics
"""
ALL = """
assert torchmetrics.Metric is Metric is sys.modules["torchmetrics.metric"].Metric
from torchmetrics import MeanMetric
assert issubclass(MeanMetric, Metric) and torchmetrics.functional.mean_squared_error
assert type(torchmetrics) is type(sys) and torchmetrics.__version__.startswith("1.")
from torchmetrics import *
"""
OTHER = """
import sys
from float_research import packages
packages.SHORTCUTS = {"Metric": "torchmetrics.nowhere"}
with packages.importing():
    from torchmetrics import Metric, MeanMetric
assert issubclass(MeanMetric, Metric) and Metric.__module__ == "torchmetrics.metric"
"""


@pytest.mark.parametrize("code", [BEGIN + ALL, OTHER], ids=["all", "another version"])
def test_the_deferred_package_is_whole(code: str) -> None:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
