"""Output streams that are closed, full, unread or ASCII only, and output as plain text."""

import ast
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuzz.processes import script
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from float_research.errors import printable
from float_research.inference.progress import ProgressBars, run_line
from float_research.printing import Table, elide, say, stdout

ROOT = Path(__file__).parents[1]
INFER = [
    sys.executable,
    str(ROOT / "scripts" / "infer.py"),
    "model=tiny",
    "checkpoint=random",
    "face=none",
    "metrics=none",
]
BREAKS = {
    "at the end": "print('Über')",
    "at once": "print('Über', flush=True)",
    "in a thread": "t = threading.Thread(target=print, args=['Über'], kwargs={'flush': True}); t.start(); t.join()",
    "where all is caught": """
    try:
        print('Über', flush=True)
    except Exception:
        pass""",
}


def shell(redirection: str, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command with streams redirected by bash."""
    text = f'set -o pipefail; "$@" {redirection}'
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONUNB"))}
    return subprocess.run(
        ["bash", "-c", text, "bash", *command], check=False, capture_output=True, text=True, env=env | environment
    )


def program(tmp_path: Path, body: str) -> tuple[str, str]:
    """Returns a command that runs `body` in a script of ours."""
    lines = f"import sys, threading\nfrom float_research import cli\ndef main():\n    {body}\ncli.run(main)\n"
    (tmp_path / "script.py").write_text(lines, encoding="utf-8")
    return sys.executable, str(tmp_path / "script.py")


def test_closed_streams_do_not_end_a_run(portrait: Path, speech: Callable[[float], Path], tmp_path: Path) -> None:
    clip = (f"data.image={portrait}", f"data.audio={speech(0.5)}")
    ended = shell(">&- 2>&- <&-", *INFER, *clip, f"hydra.run.dir={tmp_path}")
    assert ended.returncode == 0
    assert (tmp_path / "record.json").is_file()


@pytest.mark.parametrize("closed", [">&- <&-", "2>&-"])
def test_a_closed_stream_is_not_replaced_by_the_next_file(closed: str, tmp_path: Path) -> None:
    opened = f"file = open({str(tmp_path / 'file')!r}, 'w'); print('Über'); print('Über', file=sys.stderr)"
    ended = shell(closed, *program(tmp_path, f"{opened}; sys.exit(file.fileno() < 3)"))
    assert ended.returncode == 0
    assert sorted((ended.stdout, ended.stderr)) == ["", "Über\n"]


@pytest.mark.parametrize("body", BREAKS.values(), ids=BREAKS)
def test_a_lost_reader_ends_the_program_silently(body: str, tmp_path: Path) -> None:
    left = tmp_path / "left"
    waiting = f"import pathlib, time\n    while not pathlib.Path({str(left)!r}).exists(): time.sleep(0.01)\n    {body}"
    ended = shell(f"| (exec <&-; touch {left})", *program(tmp_path, waiting))
    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == ""


@pytest.mark.parametrize("body", BREAKS.values(), ids=BREAKS)
def test_a_full_disk_under_the_output_is_one_sentence(body: str, tmp_path: Path) -> None:
    ended = shell("> /dev/full", *program(tmp_path, body))
    assert ended.returncode == 2
    assert ended.stderr == "error: cannot print (No space left on device); redirect the output elsewhere\n"


def test_a_full_disk_under_standard_error_is_ignored(tmp_path: Path) -> None:
    ended = shell("2> /dev/full", *program(tmp_path, "print('Über', file=sys.stderr); print('heard')"))
    assert (ended.returncode, ended.stdout) == (0, "heard\n")


def test_characters_that_the_output_cannot_encode_are_escaped(tmp_path: Path) -> None:
    twice = program(tmp_path, "print('Über 漢'); print('Über 漢', file=sys.stderr)")
    ended = shell("", *twice, PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, *2 * ["\\xdcber \\u6f22\n"])


def test_an_ascii_locale_does_not_limit_file_names(tmp_path: Path) -> None:
    writes = program(tmp_path, f"open({str(tmp_path)!r} + '/' + sys.argv[1] + 'ber 漢', 'w').close(); print('漢')")
    ended = shell("", *writes, "Ü", LC_ALL="C", PYTHONUTF8="0")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "\\u6f22\n", "")
    assert (tmp_path / "Über 漢").exists()


def test_control_characters_of_foreign_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    raises = "raise cli.UserError('image \\x1b[2Jü\\r.png does not exist; choose another')"
    ended = shell("", *program(tmp_path, raises))
    assert ended.returncode == 2
    assert ended.stderr == "error: image \\x1b[2Jü\\r.png does not exist; choose another\n"


def test_a_user_without_name_and_home_runs_without_a_disk_cache(
    portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    nobody = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*nobody, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this machine lets nobody run under another user's number")
    clip = (f"data.image={portrait}", f"data.audio={speech(0.5)}")
    environment = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
    ended = shell("", *nobody, "env", "-i", *environment, *INFER, *clip, f"hydra.run.dir={tmp_path}")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("cannot be used (the home folder is unknown); continuing in memory only") == 1
    assert (tmp_path / "record.json").is_file()
    assert not (Path.cwd() / "~").exists()


def calls() -> Iterator[tuple[Path, str, ast.Call]]:
    """Yields all calls in the package, with the last name of the callee."""
    for folder in ("float_research", "scripts", "hydra_plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield path, ast.unparse(node.func).rpartition(".")[2], node


def test_one_module_creates_consoles_and_tables() -> None:
    makers = {(path.name, name) for path, name, _ in calls() if name in ("Console", "RichTable")}
    assert makers == {("printing.py", "Console"), ("printing.py", "RichTable")}
    sources = {path: path.read_text(encoding="utf-8") for path, _, _ in calls()}
    for module in ("rich.table", "rich.markup", "rich.pretty", "rich import"):
        assert {path.name for path, text in sources.items() if f"from {module}" in text} <= {"printing.py"}, module


def test_no_markup_is_used() -> None:
    """Neither written in our own texts nor parsed from others'."""
    tag = re.compile(r"\[/?(bold|italic|red|green|yellow|blue|dim|link)[^\]\n]*\]")
    for path, name, call in calls():
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert given.get("markup", "False") == "False", path
        if name in ("TextColumn", "Console"):
            assert given.get("markup") == "False", f"{path}, line {call.lineno}"
        if name == "print" and ast.unparse(call.func) == "console.print":
            assert not call.args or not isinstance(call.args[0], (ast.JoinedStr, ast.Constant)), f"{path}: use say()"
        for argument in call.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                assert not tag.search(argument.value), path


WORDS = ["[/x]", "[flicker]", "[bold]a[/bold]", "a:smile:b", r"\[b]", r"a\\[/]", "[link=file:///x]a", "é\x1b[2Jü", "["]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("console", [stdout, Console])
def test_user_input_is_printed_unchanged(word: str, console: Callable[[], Console]) -> None:
    to = console()
    to.file, to.width, to.record = io.StringIO(), 100, True
    say(to, word)
    with ProgressBars(1, to) as bars:
        bars.clip_started(word, 3, 1)
        bars.clip_finished(word)
    to.print(Table([word, "b"], [[word, word]], word))
    lines = to.export_text().splitlines()
    expected = printable(word)
    assert lines[:2] == [expected, f"clip 1/1: {expected}"]
    assert lines[2] == expected
    width = max(cell_len(expected), 1)
    assert lines[3:] == [f"{set_cell_size(expected, width)}  b", f"{expected}  {expected}"]


def test_names_in_a_progress_bar_are_not_markup() -> None:
    console = Console(force_terminal=True, width=100, file=io.StringIO(), record=True)
    with ProgressBars(1, console) as bars:
        bars.clip_started("a[/x][red]b", 3, 1)
        bars.progress.refresh()
    assert "a[/x][red]b" in console.export_text()


@pytest.mark.parametrize(
    ("text", "width", "said"),
    [
        ("portrait-arctic_a0007", 21, "portrait-arctic_a0007"),
        ("portrait-arctic_a0007", 12, "portra…a0007"),
        ("abcdef", 3, "a…f"),
        ("abcdef", 2, "a…"),
        ("abcdef", 1, "…"),
        ("写真・肖像", 7, "写…肖"),
        ("写真・肖像", 8, "写真…像"),
    ],
)
def test_long_names_lose_their_middle(text: str, width: int, said: str) -> None:
    if "写" in text:
        said = elide(text, width)
        assert said.startswith("写")
        assert "…" in said
    assert elide(text, width) == said
    assert cell_len(said) <= width


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 300])
def test_a_table_is_at_most_as_wide_as_the_terminal(width: int) -> None:
    """No word is folded, no number is cut, and nothing is missing."""
    names = ["run", "metrics", "frames", "evaluations", "branches", "sample_s", "p (sign flip)", "video"]
    path = "videos/portrait-arctic_a0007-and-so-on.mp4"
    told = "its file is damaged"
    rows = [[str(i), told, "100", "12345678", "24", "0.0714", "0.12345678901234567", path] for i in range(2)]
    console = Console(width=width, file=io.StringIO(), record=True, force_terminal=True)
    console.print(Table(names, rows, "summary"))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    words = {word for line in lines[1:] for word in re.split(r"[┃│\s]+", line) if word.strip("━─┏┓┡┩┳╇└┘┴")}
    whole = {word for row in (names, *rows) for cell in row if cell != path for word in cell.split()}
    assert whole <= words
    (shown,) = words - whole
    assert shown == path if width == 300 else shown.startswith("vide") and shown.endswith(".mp4")
    assert sum("run" in line for line in lines) >= (2 if width < 60 else 1), "the first column is next to the rest"


def test_a_piped_table_is_plain_text_at_full_width() -> None:
    long = "x" * 300
    console = stdout()
    console.file, console.record = io.StringIO(), True
    console.print(Table(["run", "video"], [["0", long], ["写真", "b"]], "summary"))
    assert console.export_text().splitlines() == ["summary", "run   video", f"0     {long}", "写真  b"]


def test_a_run_of_a_sweep_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"settings": {"nfe": "4,6"}, "runs": [["nfe=4"], ["nfe=6"]]}')
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "record.json").touch()
    record = {"clips": [{"metrics": {"lip_correlation": 0.652, "motion_jerk": 3.0}}], "wall_s": 8.1}
    line = run_line(tmp_path / "0", ["nfe=4"], record, ["lip_correlation", "sampling_error"])
    assert re.fullmatch(r"run 1/2: nfe=4, lip_correlation 0\.652, 8\.1 s, [\d.]+ s left", line)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "record.json").touch()
    assert run_line(tmp_path / "1", ["nfe=6"], record, []) == "run 2/2: nfe=6, 8.1 s"


def test_a_style_is_kept_and_a_table_may_be_empty() -> None:
    console = Console(width=40, file=io.StringIO(), record=True, force_terminal=True)
    console.print(Table(["a"], [[Text("WRONG", style="red")]]))
    assert "\x1b[31mWRONG" in console.export_text(styles=True)
    console.print(Table(["a", "b"], []))
    assert "a" in console.export_text()


def test_a_line_of_all_runs_of_a_sweep_is_printed_once() -> None:
    console = Console(width=40, file=io.StringIO(), record=True)
    for sweep in ("test_once one", "test_once two", None):
        for _ in range(2):
            say(console, "untrained", once=sweep)
        say(console, f"other {sweep}", once=sweep)
    said = console.export_text().splitlines()
    assert said == [
        "untrained",
        "other test_once one",
        "untrained",
        "other test_once two",
        *["untrained"] * 2,
        "other None",
    ]


def test_a_sweep_over_lists_in_a_folder_that_looks_like_markup(
    portrait: Path, speech: Callable[[float], Path], tmp_path: Path
) -> None:
    image = tmp_path / "me[/x]" / "[b].png"
    image.parent.mkdir(parents=True)
    image.write_bytes(portrait.read_bytes())
    out = tmp_path / "out[/x]"
    settings = ["model=tiny", "checkpoint=random", "face=none", "nfe=2", f"data.image={image}"]
    swept = ["metrics=[flicker],[motion,flicker],[motion]", f"data.audio={speech(0.3)}", f"hydra.sweep.dir={out}"]
    ended = script("infer", ["-m", *settings, *swept], tmp_path / "process")
    assert ended.code == 0, ended.error
    rows = [line.split()[1] for line in ended.output.splitlines() if re.match("[012]  ", line)]
    assert rows == ["[flicker]", "[motion,flicker]", "[motion]"]
    assert ended.output.count("The weights are untrained") == 1
    assert f"3 runs: {out}/summary.csv" in ended.output
    assert [line.partition(":")[0] for line in ended.output.splitlines() if line.startswith("run ")][:3] == [
        *(f"run {count}/3" for count in (1, 2, 3))
    ]
    assert f"python scripts/report.py '{out}'" in ended.output
