"""Overrides: what Hydra's grammar parses is unchanged, anything else is a literal string."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.processes import script
from hydra.core.override_parser.types import ValueType
from omegaconf import OmegaConf

from float_research import compose, overrides, studies
from float_research.cli import sentence
from float_research.errors import UserError
from float_research.overrides import literal, quoted, read

TINY = ["model=tiny", "checkpoint=random", "face=none", "metrics=none", "trainer.accelerator=cpu", "nfe=2"]
ALPHABET = "ab'\"\\,[](){}=#%$ \t\n:@~!&|;<>*?+^`1.-/\x07é\u0301—😀\u200fش\udce9"


def meant(override: str) -> object:
    """Returns the value that a setting gets from a literal override."""
    (said,) = literal([override])
    known = read(said)
    assert known is not None
    assert known.value_type is ValueType.ELEMENT
    return OmegaConf.to_container(OmegaConf.create({"value": known.value()}), resolve=True)["value"]  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    "override",
    [
        "nfe=4",
        "nfe=4,8",
        "nfe=range(4,33,4)",
        "data.image=me.png",
        "data.image='me (1).png'",
        'data.image="a,b.png"',
        r"data.image=me\ \(1\).png",
        "data.image=${asset:demo/a.png}",
        "hydra.run.dir=outputs/${now:%Y-%m-%d}",
        "metrics=[motion,face]",
        "emotion.blend={happy: 0.5}",
        "~data",
        "~data=pair",
        "+trainer.limit=1",
        "++trainer.limit=1",
        "schedule@guidance.audio=interval",
        "hydra/launcher=joblib",
        "data.image=",
        "data.image=null",
    ],
)
def test_what_the_grammar_parses_is_unchanged(override: str) -> None:
    assert literal([override]) == literal([override], sweep=True) == [override]


@pytest.mark.parametrize("seed", range(8))
def test_any_string_is_preserved(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        text = "".join(draw.choice(ALPHABET) for _ in range(draw.randint(0, 14))).replace("$", draw.choice(["$", "${"]))
        assert meant(f"a={quoted(text)}") == text
        if read(f"a={text}") is None and not (text.strip().startswith("[") and text.strip().endswith("]")):
            assert meant(f"a={text}") == text or text.startswith("~")


def test_a_string_is_not_interpolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "password")
    for text in ("(${oc.env:SECRET})", r"(\${oc.env:SECRET})", r"(\\${oc.env:SECRET})", "(${seed})", "(${"):
        cfg = compose.compose_config([f"data.image={text}", "checkpoint=stages", f"checkpoint.weights=[{text},b]"])
        assert cfg.data.image == text
        assert compose.build(cfg.data).image == text
        assert compose.build(cfg.checkpoint).weights == [text, "b"]
    assert compose.build(compose.compose_config(["data.image=${seed}.png"]).data).image == "15.png"


@pytest.mark.parametrize(
    ("value", "runs"),
    [
        ("a (1).png,b (2).png", ["a (1).png", "b (2).png"]),
        ('"a,b.png",c (1).png', ["a,b.png", "c (1).png"]),
        ("'Twas (1).png,b.png", ["'Twas (1).png", "b.png"]),
        ("Mom's.png,Dad's.png", ["Mom's.png", "Dad's.png"]),
        ("é.png,,x", ["é.png", "", "x"]),
        ("[a (1),b],[c]", [["a (1)", "b"], ["c"]]),
        ("f(1,(2)),x", ["f(1", "(2))", "x"]),
    ],
)
def test_commas_separate_in_a_sweep(value: str, runs: list[object]) -> None:
    (said,) = literal([f"a={value}"], sweep=True)
    known = read(said)
    assert known is not None
    assert [read(f"a={run}").value() for run in known.sweep_string_iterator()] == runs  # type: ignore[union-attr]
    if not value.startswith(("[", '"')):
        assert meant(f"a={value}") == value, "but not in a single run"


def test_elements_of_lists_are_strings_too() -> None:
    assert meant("a=[a (1).ckpt,b.ckpt, ~/c]") == ["a (1).ckpt", "b.ckpt", str(Path.home() / "c")]
    assert meant("a=[a (1),[b (2),3]]") == ["a (1)", ["b (2)", 3]]
    assert meant("a=[1] me.png") == "[1] me.png"


def test_the_home_folder_is_where_a_shell_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert meant("data.image=~/x.png") == f"{tmp_path}/x.png"
    assert meant("data.images=~") == str(tmp_path)
    for other in ("~x.png", "a~/x", "'~/x.png'"):
        assert meant(f"data.image={other}") == other.strip("'")


def test_a_file_keeps_the_spaces_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (" a ", r"a\(1\)", "4"):
        (tmp_path / name).touch()
    assert [meant(f"a={name}") for name in (" a ", r"a\(1\)", " b ", "4")] == [" a ", r"a\(1\)", "b", 4]


@pytest.mark.parametrize("argument", ["data.image", "photo.png", "(1).png", "~/x.png", "my setting=3", "=x", "+=x", ""])
def test_an_invalid_override_is_refused_with_the_right_quoting(argument: str) -> None:
    with pytest.raises(UserError) as caught:
        literal([argument])
    assert str(caught.value) == (
        f"{argument} is not NAME=VALUE; quote an argument with spaces or special characters for the shell: "
        "'data.image=my photo (1).png'"
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("nfe=(1", "nfe=(1 must be an integer"),
        ("nfe=range(1,2,3,4)", "nfe=range(1,2,3,4) must be an integer"),
        ("data.image=10", "data.image=10 must be a string, as in 'data.image=\"TEXT\"'"),
        ("name=[x]", "name=['x'] must be a string, as in 'name=\"TEXT\"'"),
        ("decoding.memory_mb=(x", "decoding.memory_mb=(x must be a number"),
        ("dry_run=yes (please)", "dry_run=yes (please) must be true or false"),
        ("time_grid=explicit time_grid.points=(0", "time_grid.points=(0 must be a list, as in 'time_grid"),
        ("emotion=blend emotion.blend={a", "emotion.blend={a must be a mapping, as in 'emotion.blend={A: 1}'"),
        ("data.image=a,b", "data.image=a,b has several values; add -m, or quote one string: 'data.image=\"a,b\"'"),
        ("data.image=${x}", "data.image: Interpolation key 'x' not found; write \\${ for a literal ${"),
        ("solver=eul (er", "solver=eul (er is unknown (did you mean euler?); choose one of "),
    ],
)  # fmt: skip
def test_a_string_of_the_wrong_type_is_refused(override: str, said: str, tmp_path: Path) -> None:
    given = [override] if "(please)" in override or "eul (" in override else override.split(" ")
    with pytest.raises(Exception) as caught:  # noqa: PT011
        compose.build_job(compose.compose_config([*given, f"output_dir={tmp_path}"]))
    assert sentence(caught.value)[0].startswith(said)


def test_lists_of_trainings_and_evaluations_are_not_strings() -> None:
    for override in ("init_from=(a", "frozen=x"):
        with pytest.raises(UserError, match="must be a list, as in"):
            compose.build_training(compose.compose_config([override, "output_dir=."], "train"))
    for override in ("overrides=(a", "subjects=x"):
        with pytest.raises(UserError, match="must be a list, as in"):
            studies.build_evaluation(compose.compose_config([override], "evaluate_demo"))


def test_options_of_hydra_keep_their_values() -> None:
    given = ["--config-dir", "my conf (1)", "-m", "data.image=a (1),b", "--cfg", "job"]
    assert overrides.arguments(given) == [*given[:3], "data.image='a (1)',b", "--cfg", "job"]
    assert overrides.arguments(["a=(1),b"]) == ["a='(1),b'"]
    assert overrides.arguments(["a=1", "--info"]) == ["a=1", "--info"]
    assert overrides.arguments(["--config-path", "conf", "a=1"]) == [
        *["--config-path", "conf", "a=1"],
        f"--config-path={Path.cwd() / 'conf'}",
    ]
    assert overrides.arguments(["hydra.mode=MULTIRUN", "a=(1),b"]) == ["hydra.mode=MULTIRUN", "a='(1)',b"]


def test_overrides_may_be_between_options_and_look_like_options() -> None:
    given = ["--nfe=5", "--config-dir", "conf", "solver=rk4", "--cfg=job", "--data.image=a (1)", "-m", "+b=1,2"]
    assert overrides.arguments(given) == [
        *["nfe=5", "solver=rk4", "data.image='a (1)'", "+b=1,2"],
        *["--config-dir", "conf", "--cfg=job", "-m"],
    ]
    unknown = ["--resolve", "--bogus"]
    assert overrides.arguments(unknown) == unknown, "Hydra's own parser reports the error"


def test_a_sweep_splits_names_at_commas(speech: Callable[[float], Path], tmp_path: Path) -> None:
    names = ["a (1).wav", "Mom's.wav"]
    for name in names:
        (tmp_path / name).write_bytes(speech(0.3).read_bytes())
    swept = ",".join(str(tmp_path / name) for name in names)
    arguments = ["-m", *TINY, f"data.audio={swept}", f"hydra.sweep.dir={tmp_path}/out (1)"]
    ended = script("infer", arguments, tmp_path / "process")
    assert ended.code == 0, ended.error
    records = [json.loads((tmp_path / "out (1)" / run / "record.json").read_text()) for run in "01"]
    assert [Path(record["clips"][0]["audio"]).name for record in records] == names


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("convert", ["checkpoint=unified", "checkpoint.file=a (1)", "output=b.safetensors"], "a (1) does not exist"),
        ("train", ["init_from=(a"], "init_from=(a must be a list"),
        ("cache", ["show", "cache.folder=my cache (1)"], "my cache (1): 0 entries"),
        ("measure", ["my run (1)", "metrics=(x"], "metrics=(x is unknown"),
    ],
)  # fmt: skip
def test_other_scripts_accept_such_values_too(name: str, arguments: list[str], said: str, tmp_path: Path) -> None:
    ended = script(name, arguments, tmp_path)
    assert said in ended.output + ended.error
    assert "Exception" not in ended.error
    assert ended.error.count("\n") <= 1
