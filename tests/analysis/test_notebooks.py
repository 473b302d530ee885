"""Notebooks of sweeps run from top to bottom on a small one, with and without metrics; all are stored with outputs."""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from paired_sweep import paired
from small_sweep import change

STORED = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [path for path in STORED if "FLOAT_SWEEP" in path.read_text(encoding="utf-8")]
FRESH, STATISTICS = "%reset -f", "statistics"
MAX_BYTES, MAX_WIDTH_PX = 300_000, 1600
PLACES = re.compile(r"(?<![\w.<])/(home|root|tmp|work|Users|mnt|opt|var)/|[A-Z]:\\\\")
"""Paths of a machine."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_text(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert "**Demo weights**" in prose[0], "a note on what they show"
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_it_is_stored_with_small_outputs(path: Path) -> None:
    outputs = [output for cell in read(path).cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs, "run .ci/notebooks"
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        data = output.get("data", {})
        assert not PLACES.search(output.get("text", "") + "".join(map(str, data.values())))
        if "image/png" in data:
            height, width, _ = cv2.imdecode(np.frombuffer(base64.b64decode(data["image/png"]), np.uint8), 1).shape
            assert width <= MAX_WIDTH_PX
            assert height <= 2 * MAX_WIDTH_PX


@pytest.mark.parametrize("text", ["/root/me/x.mp4", "in '/home/me'", r'"C:\\Users'])
def test_paths_of_a_machine_are_seen(text: str) -> None:
    assert PLACES.search(text)
    assert not PLACES.search("</var>, a/tmp/b, 1/2, ../outputs/sweep/NAME")


@pytest.fixture(scope="module")
def bare(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the same sweep as from an older version: no metrics, traces or videos, fewer facts."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("bare") / "sweep"))
    for run in folder.iterdir():
        shutil.rmtree(run / "videos")
        shutil.rmtree(run / "traces")
        record = json.loads((run / "record.json").read_text())
        clips = [clip | {"metrics": {}, "absent": {}, "traces": None} for clip in record["clips"]]
        change(run, clips=clips, metrics={}, absent={}, peak_memory_mb=None)
    return folder


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a sweep of settings that were run on the same clips."""
    return paired(tmp_path_factory.mktemp("several") / "sweep", checkpoint={"notice": "untrained"})


@pytest.fixture(scope="module")
def executed(made: Path, bare: Path, several: Path) -> dict[tuple[str, str], list[Any]]:
    """Returns the outputs of each notebook on both sweeps, all run in one kernel that is reset in between."""
    cells: list[Any] = []
    for sweep in (made, bare):
        for path in NOTEBOOKS:
            code = [cell.source for cell in read(path).cells if cell.cell_type == "code"]
            of = {"of": ("bare" if sweep == bare else "made", path.stem)}
            fit = several if sweep == made and path.stem == STATISTICS else sweep
            sources = [FRESH, f"%env FLOAT_SWEEP={fit}", *code]
            cells += [nbformat.v4.new_code_cell(source, metadata=of) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    found: dict[tuple[str, str], list[Any]] = {}
    for cell in notebook.cells:
        found.setdefault(tuple(cell.metadata.of), []).extend(cell.outputs)
    return found


def pictures(outputs: list[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def printed(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_plots_available_data(path: Path, executed: dict[tuple[str, str], list[Any]]) -> None:
    outputs = executed["made", path.stem]
    assert pictures(outputs) >= (2 if path.stem == STATISTICS else 3)
    assert "untrained" in printed(outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_reports_missing_data(path: Path, executed: dict[tuple[str, str], list[Any]]) -> None:
    said = printed(executed["bare", path.stem])
    assert "missing: 12 of 12 videos" in said
    assert path.stem == "overview" or "no figure: " in said


def test_statistics_end_in_sentences(executed: dict[tuple[str, str], list[Any]]) -> None:
    said = printed(executed["made", STATISTICS])
    assert "abm2 beats euler in lip_correlation by 0.097 [" in said
    assert "midpoint and euler are not separable in flicker" in said
