"""What a script prints to may be closed, full, left by its reader, or know no letters but ASCII."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
    """How a command ends whose streams bash redirects."""
    text = f'set -o pipefail; "$@" {redirection}'
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONUNB"))}
    return subprocess.run(
        ["bash", "-c", text, "bash", *command], check=False, capture_output=True, text=True, env=env | environment
    )


def program(tmp_path: Path, body: str) -> tuple[str, str]:
    """A script of ours that does what `body` says."""
    lines = f"import sys, threading\nfrom float_research import cli\ndef main():\n    {body}\ncli.run(main)\n"
    (tmp_path / "script.py").write_text(lines, encoding="utf-8")
    return sys.executable, str(tmp_path / "script.py")


def test_closed_streams_do_not_end_a_run(portrait: Path, speech: Callable[[float], Path], tmp_path: Path) -> None:
    clip = (f"data.image={portrait}", f"data.audio={speech(0.5)}")
    ended = shell(">&- 2>&- <&-", *INFER, *clip, f"hydra.run.dir={tmp_path}")
    assert ended.returncode == 0
    assert (tmp_path / "record.json").is_file()


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_not_taken_by_the_next_file(closed: str, tmp_path: Path) -> None:
    opened = f"file = open({str(tmp_path / 'file')!r}, 'w'); print('Über'); print('Über', file=sys.stderr)"
    ended = shell(closed, *program(tmp_path, f"{opened}; sys.exit(file.fileno() < 3)"))
    assert ended.returncode == 0
    assert sorted((ended.stdout, ended.stderr)) == ["", "Über\n"]


@pytest.mark.parametrize("body", BREAKS.values(), ids=BREAKS)
def test_a_reader_that_left_is_told_nothing(body: str, tmp_path: Path) -> None:
    left = tmp_path / "left"
    waiting = f"import pathlib, time\n    while not pathlib.Path({str(left)!r}).exists(): time.sleep(0.01)\n    {body}"
    ended = shell(f"| (exec <&-; touch {left})", *program(tmp_path, waiting))
    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == ""


@pytest.mark.parametrize("body", BREAKS.values(), ids=BREAKS)
def test_a_full_disk_under_the_output_is_one_sentence(body: str, tmp_path: Path) -> None:
    ended = shell("> /dev/full", *program(tmp_path, body))
    assert ended.returncode == 2
    assert ended.stderr == "error: cannot print (No space left on device); print to another place\n"


def test_a_full_disk_under_the_complaints_ends_nothing(tmp_path: Path) -> None:
    ended = shell("2> /dev/full", *program(tmp_path, "print('Über', file=sys.stderr); print('heard')"))
    assert (ended.returncode, ended.stdout) == (0, "heard\n")


def test_letters_that_the_output_does_not_know_are_escaped(tmp_path: Path) -> None:
    twice = program(tmp_path, "print('Über 漢'); print('Über 漢', file=sys.stderr)")
    ended = shell("", *twice, PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, *2 * ["\\xdcber \\u6f22\n"])


def test_a_locale_of_few_letters_does_not_limit_file_names(tmp_path: Path) -> None:
    writes = program(tmp_path, f"open({str(tmp_path)!r} + '/' + sys.argv[1] + 'ber 漢', 'w').close(); print('漢')")
    ended = shell("", *writes, "Ü", LC_ALL="C", PYTHONUTF8="0")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "\\u6f22\n", "")
    assert (tmp_path / "Über 漢").exists()


def test_control_characters_of_foreign_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    raises = "raise cli.UserError('image \\x1b[2Jü\\r.png does not exist; choose another')"
    ended = shell("", *program(tmp_path, raises))
    assert ended.returncode == 2
    assert ended.stderr == "error: image \\x1b[2Jü\\r.png does not exist; choose another\n"


def test_a_user_without_name_and_home_goes_on_without_a_cache(
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
    assert ended.stderr.count("cannot be used (nobody knows where the home is); going on without its files") == 1
    assert (tmp_path / "record.json").is_file()
    assert not (Path.cwd() / "~").exists()
