"""The code that identifies a result: every part's module and all its imports, ours and a user's."""

import importlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from float_research import sources
from float_research.inference.measuring import measured_by
from float_research.metrics.motion import Motion
from float_research.sources import code, module_of, own_files, parts
from float_research.tracking.record import PLACES, identity

CONF = Path("conf")
NUM_EDITS = 60


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Yields `package(name="text", …)`, which writes modules of a user's package `own_parts`."""
    folder = tmp_path / "own_parts"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> None:
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    write(__init__="")
    yield write
    for name in [name for name in sys.modules if name.startswith("own_parts")]:
        del sys.modules[name]
    sources._loaded.clear()
    sources._known.clear()
    sources._found.cache_clear()


def test_classes_are_traced_to_their_modules() -> None:
    config = {
        "a": {"_target_": "float_research.sampling.solver.Euler", "b": [{"_target_": "json.JSONDecoder.decode"}]},
        "c": None,
    }
    assert parts(config) == {"float_research.sampling.solver", "json"}
    assert module_of("json.decoder.JSONDecoder") == "json.decoder"
    assert module_of("no_such_module.Class") == "no_such_module"


@pytest.mark.parametrize(
    ("importing", "edited"),
    [
        ("", "guidance"),
        ("from own_parts import helper", "helper"),
        ("from own_parts.helper import SCALE", "helper"),
        ("from .helper import SCALE", "helper"),
        ("from . import helper", "helper"),
        ("import own_parts.helper", "helper"),
        ("def late():\n    from own_parts import helper", "helper"),
        ("try:\n    from own_parts.between import SCALE\nexcept ImportError: ...", "helper"),
        ("", "__init__"),
    ],
)
def test_editing_a_users_module_changes_the_code(package: Callable[..., None], importing: str, edited: str) -> None:
    modules = {"guidance": f"{importing}\nclass Guidance: ...\n", "helper": "SCALE = 1\n", "__init__": ""}
    package(**modules, between="from own_parts.helper import SCALE\n", apart="X = 1\n")
    before = code("own_parts.guidance")
    package(apart="X = 2\n")
    assert code("own_parts.guidance") == before, "it is not imported"
    package(**{edited: modules[edited] + "# edited\n"})
    assert code("own_parts.guidance") != before


def test_code_counts_as_loaded(package: Callable[..., None]) -> None:
    package(guidance="SCALE = 1\n")
    loaded = importlib.import_module("own_parts.guidance")
    before = code("own_parts.guidance")
    package(guidance="SCALE = 20\n")
    assert code("own_parts.guidance") == before, "the process still runs the loaded code"
    importlib.reload(loaded)
    assert loaded.SCALE == 20
    assert code("own_parts.guidance") != before


def test_imports_for_types_do_not_count_and_packages_count_by_version(
    package: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    package(
        guidance="import torch\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import own_parts.helper\n",
        helper="",
    )
    before = code("own_parts.guidance")
    package(helper="X = 1\n")
    assert code("own_parts.guidance") == before
    assert own_files("own_parts.guidance").keys() == {"own_parts", "own_parts.guidance"}
    monkeypatch.setattr(sources, "_version", lambda package: "0.0")
    assert code("own_parts.guidance") != before


def test_a_module_without_a_file_is_unique_to_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code("__notebook__")
    assert code("__notebook__") == before
    monkeypatch.setattr(sources, "UNKNOWN", "another process")
    assert code("__notebook__") != before


def choices() -> list[tuple[str, Mapping[str, Any]]]:
    """Returns group and settings of every file of every group whose parts compute something."""
    found = []
    for path in sorted(CONF.glob("*/*.yaml")):
        settings = yaml.safe_load(path.read_text())
        names_ours = any(name.startswith("float_research.") for name in parts(settings))
        if names_ours and path.parent.name not in {*(PLACES - {"metrics"}), "stage", "experiment"}:
            found.append((path.parent.name, settings))
    return found


def key(group: str, settings: Mapping[str, Any]) -> str:
    """Returns the identity of a run with this part, or of a metric's numbers."""
    if group == "metrics":
        return str([measured_by({"metrics": {name: part}}, [Motion()]) for name, part in settings.items() if part])
    return str(identity({group: settings}, "weights"))


def test_editing_a_part_prevents_reuse(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, digest, found = random.Random(0), sources._digest, choices()
    assert len({group for group, _ in found}) >= 15
    tried = [*found, *chance.choices(found, k=max(0, NUM_EDITS - len(found)))]
    for number, (group, settings) in enumerate(tried):
        roots = parts(settings)
        modules = sorted(roots if number < len(found) else sources._modules(frozenset(roots)) - {"float_research"})
        edited, before = (
            chance.choice([name for name in modules if name.startswith("float_research.")]),
            key(group, settings),
        )
        monkeypatch.setattr(sources, "_digest", lambda name, edited=edited: digest(name) + "2" * (name == edited))
        assert key(group, settings) != before, f"{edited} was edited, of {group}"
        monkeypatch.setattr(sources, "_digest", digest)
        assert key(group, settings) == before
    assert len(tried) >= NUM_EDITS
