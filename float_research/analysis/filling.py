"""Self-contained HTML pages: a template filled with style, scripts and data, under a policy that allows no others."""

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from float_research.data.examples import asset

MARK = '<meta name="generator" content="float-research">'
STYLE = "page.css"


def plain(value: Any) -> Any:
    """Converts a value for JSON: missing ones become null, and infinity the text ∞."""
    if isinstance(value, bool | str):
        return value
    if value is None or pd.isna(value):
        return None
    number = float(value)
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.6g}")


def embed_json(content: Any) -> str:
    """Serialises to JSON that is safe inside an HTML element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def fill(template: str, scripts: Sequence[str], title: str, content: Any) -> str:
    """Fills a page's template in one pass, so that placeholders within the data are not replaced."""
    script = "\n".join(_asset(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "title": html.escape(title),
        "mark": MARK,
        "style": _asset(STYLE),
        "script": script,
        "hash": f"sha256-{digest}",
        "data": embed_json(content),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset(template))


def _asset(name: str) -> str:
    return Path(asset(f"page/{name}")).read_text(encoding="utf-8")
