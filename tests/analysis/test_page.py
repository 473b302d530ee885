"""The comparison page as a folder: its content, refused folders, hostile input."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from small_sweep import EVALUATIONS, change, synthetic

from float_research.analysis import page as page_module
from float_research.analysis.filling import embed_json
from float_research.analysis.page import write_page
from float_research.data.examples import asset
from float_research.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def content(page: Path) -> dict[str, Any]:
    """Returns the data inside a page."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text)


def test_a_page_holds_all_runs_and_their_videos(made: Path, tmp_path: Path) -> None:
    page = write_page(made, tmp_path / "page", "small")
    assert (page.num_runs, page.num_clips, page.num_videos) == (12, 12, 12)
    held = content(page.path)
    names = [column["name"] for column in held["columns"]]
    solvers = [row[names.index("solver")] for row in held["rows"]]
    assert solvers[: 2 * len(EVALUATIONS)] == ["euler"] * 3 + ["midpoint"] * 3
    assert held["same"]["budget"] == "evaluations"
    assert [row["slope"] for row in held["slopes"][:2]] == pytest.approx([1, 2])
    assert "untrained" in held["notices"][0]["text"]
    assert held["extent"]["mouth_opening"] == pytest.approx([0, 1], abs=1e-3)
    clip = held["clips"][3]
    assert held["reasons"][clip["absent"]["psnr_db"]] == "needs a reference video"
    original = next((made / "3" / "videos").glob("*.mp4"))
    assert (tmp_path / "page" / "videos" / clip["video"]).read_bytes() == original.read_bytes()
    assert (tmp_path / "page" / "traces" / "0003.js").read_text().startswith('addTraces(3,{"frame":[0.0,')


def test_the_page_runs_its_own_scripts_alone(made: Path, tmp_path: Path) -> None:
    page = write_page(made, tmp_path / "page", "small").path
    text = page.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'self' file:;" in policy
    assert "require-trusted-types-for 'script'" in policy, "browsers refuse HTML from texts"
    assert "eval" not in policy
    loaded = re.findall(r'<script src="(.*?)"', text)
    blind = page.with_name("blind.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', blind)
    (script,) = re.findall(r"<script>(.*?)</script>", blind, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'; media-src 'self' file:;" in policy, "it needs no other scripts"
    assert "trusted-types 'none'" in policy
    assert sorted(loaded) == [f"vendor/{path.name}" for path in sorted((page.parent / "vendor").glob("*.js"))]


def test_libraries_of_others_are_what_is_noted() -> None:
    folder = Path(asset("page/vendor"))
    noted = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert noted == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.js")}
    licences, notice = (folder / "LICENSES.txt").read_text(), (REPOSITORY / "NOTICE").read_text()
    for name in noted:
        version = re.search(r"v(\d+\.\d+\.\d+)", (folder / name).read_text()[:100])
        assert version is not None
        assert name in licences
        assert version[1] in licences
        assert version[1] in notice


def test_an_earlier_page_is_replaced_and_nothing_else(made: Path, sweep: Path, tmp_path: Path) -> None:
    write_page(made, tmp_path / "page", "first")
    for number in range(2, 12):
        shutil.rmtree(sweep / str(number))
    write_page(sweep, tmp_path / "page", "second")
    assert len(list((tmp_path / "page" / "videos").iterdir())) == 2
    assert len(list((tmp_path / "page" / "blind").iterdir())) == 2
    assert "second" in (tmp_path / "page" / "index.html").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<p>my own page</p>")
    with pytest.raises(UserError, match="holds other files; choose a new folder"):
        write_page(sweep, tmp_path / "mine", "third")
    assert (tmp_path / "mine" / "index.html").read_text() == "<p>my own page</p>"


def test_an_interrupted_page_is_replaced(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(page_module, "slopes", interrupted)
        write_page(sweep, tmp_path / "page", "first")
    assert list((tmp_path / "page" / "videos").iterdir()), "it is partially written"
    assert write_page(sweep, tmp_path / "page", "second").num_videos == 12


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_foreign_files_in_a_page_stay(sweep: Path, tmp_path: Path) -> None:
    write_page(sweep, tmp_path / "page", "first")
    mine = tmp_path / "page" / "videos" / "holiday.mp4"
    mine.write_text("mine")
    write_page(sweep, tmp_path / "page", "second")
    assert mine.read_text() == "mine"


def test_only_the_runs_own_files_are_included(sweep: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_text("secret")
    clips = json.loads((sweep / "0" / "record.json").read_text())["clips"]
    change(sweep / "0", clips=[clips[0] | {"video": "../../secret.mp4", "traces": str(secret)}])
    page = write_page(sweep, tmp_path / "page", "small")
    assert page.num_videos == 11
    assert content(page.path)["clips"][0] | {"absent": {}} == {
        "video": None,
        "traces": False,
        "fps": 25.0,
        "absent": {},
    }
    assert not any(path.read_bytes() == b"secret" for path in (tmp_path / "page").rglob("*") if path.is_file())


def test_damaged_traces_do_not_affect_the_rest(sweep: Path, tmp_path: Path) -> None:
    next((sweep / "0" / "traces").glob("*.parquet")).write_text("no parquet")
    held = content(write_page(sweep, tmp_path / "page", "small").path)
    assert [clip["traces"] for clip in held["clips"]] == [False] + [True] * 11
    assert ".parquet cannot be read" in held["notes"][0]


def test_numbers_that_json_lacks_are_distinguished(sweep: Path, tmp_path: Path) -> None:
    clips = json.loads((sweep / "0" / "record.json").read_text())["clips"]
    odd = {
        "psnr_db": float("inf"),
        "worst": float("-inf"),
        "unknown": float("nan"),
        "whole": 3.0,
        "tiny": 1.23456789e-7,
    }
    change(sweep / "0", clips=[clips[0] | {"metrics": odd}])
    held = content(write_page(sweep, tmp_path / "page", "small").path)
    names = [column["name"] for column in held["columns"]]
    row = dict(zip(names, held["rows"][0], strict=True))
    assert [row[name] for name in odd] == ["∞", "-∞", None, 3, 1.23457e-07]


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!--", "&amp;", "\u2028", "\\u003c", "{{data}}"]
)
def test_no_text_leaves_its_element(text: str) -> None:
    held = embed_json({text: [text]})
    assert not set("<>&\u2028") & set(held)
    assert json.loads(held) == {text: [text]}


class Tags(HTMLParser):
    """Counts tags."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_a_hostile_title_stays_a_title(made: Path, tmp_path: Path) -> None:
    plain, hostile = Tags(), Tags()
    plain.feed(write_page(made, tmp_path / "a", "title").path.read_text())
    hostile.feed(write_page(made, tmp_path / "b", "</title><img src=x onerror=alert(1)>{{script}}").path.read_text())
    assert hostile.seen == plain.seen


def test_many_runs_without_videos_give_a_small_page(made: Path, tmp_path: Path) -> None:
    page = write_page(synthetic(made / "0", tmp_path / "many", 100), tmp_path / "page", "many")
    assert (page.num_runs, page.num_videos) == (100, 0)
    assert page.notes == ["missing: 100 of 100 videos"]
    assert page.path.stat().st_size < 200_000
