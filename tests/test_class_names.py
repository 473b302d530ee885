"""Class names are unique over the package, except for options that different config groups call by the same word."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_class_names_are_unique() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "conf").rglob("*.yaml")]
    options = {target for text in texts for target in re.findall(r"_target_: *([\w.]+)", text)}
    places = defaultdict(list)
    for path in sorted((ROOT / "float_research").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{module}.{node.name}")
    assert len(places) > 200
    twice = [found for found in places.values() if len(found) > 1 and not options.issuperset(found)]
    assert twice == []
