"""Records that are programs or point elsewhere, damaged checkpoints, and names with special meaning."""

import json
import os
import pickle
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from fuzz import samples
from fuzz.bomb_files import Runs
from fuzz.harness import Tally
from fuzz.life import Problems, damaged, left_over, told_well
from fuzz.mutate import WORDS, changed, mutated
from fuzz.processes import FILES, PROGRAMS, SECRET, Ended, script, threads
from fuzz.watch import OUTSIDE, canary_state, lay_canary

OUT, MODULE = "OUT", "evil_module"
"""Placeholders in attack texts: the canary's folder; the attacker's module, in the user's working directory."""
TARGETS: tuple[dict[str, Any], ...] = (
    {"_target_": "numpy.testing.runstring", "astr": "open('OUT/notes.txt', 'w').write('x')", "dict": {}},
    {"_target_": "os.system", "command": "echo x > OUT/notes.txt"},
    {"_target_": "subprocess.Popen", "args": ["touch", "OUT/new"]},
    {"_target_": "subprocess.check_output", "_args_": [["touch", "OUT/new"]]},
    {"_target_": "psutil.Popen", "_args_": [["touch", "OUT/new"]]},
    {"_target_": "pathlib.Path.unlink", "self": {"_target_": "pathlib.Path", "_args_": ["OUT/notes.txt"]}},
    {"_target_": "pathlib.Path.write_text", "_args_": [{"_target_": "pathlib.Path", "_args_": ["OUT/notes.txt"]}, "x"]},
    {"_target_": "builtins.open", "file": "OUT/notes.txt", "mode": "w"},
    {"_target_": "io.open", "_args_": ["OUT/notes.txt", "w"]},
    {"_target_": "torch.load", "f": "OUT/../evil.pt", "weights_only": False},
    {"_target_": "joblib.load", "filename": "OUT/../evil.pkl"},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "OUT/../evil.pkl"},
    {"_target_": "numpy.load", "file": "OUT/../evil.pkl", "allow_pickle": True},
    {"_target_": "urllib.request.urlopen", "url": "http://127.0.0.1:9/x"},
    {"_target_": "shutil.rmtree", "path": "OUT/models"},
    {"_target_": "os.remove", "path": "OUT/notes.txt"},
    {"_target_": "builtins.eval", "_args_": ["open('OUT/notes.txt', 'w')"]},
    {"_target_": "builtins.exec", "_args_": ["open('OUT/notes.txt', 'w')"]},
    {"_target_": "importlib.import_module", "name": MODULE},
    {"_target_": f"{MODULE}.run"},
    {"_target_": "runpy.run_path", "path_name": f"OUT/../{MODULE}.py"},
    {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.remove", "path": "OUT/notes.txt"}},
    {"_target_": "functools.partial", "_args_": [{"_target_": "builtins.open", "file": "OUT/notes.txt", "mode": "w"}]},
    {"_target_": "torch.save", "obj": 1, "f": "OUT/notes.txt"},
    {"_target_": "numpy.save", "file": "OUT/notes.txt", "arr": [1]},
    {"_target_": "float_research.tracking.record.write_text", "path": "OUT/notes.txt", "text": "x"},
    {"_target_": "float_research.compose.os.system", "command": "echo x > OUT/notes.txt"},
    {"_target_": "float_research.files.Part", "path": {"_target_": "pathlib.Path", "_args_": ["OUT/notes.txt"]}},
    {"_target_": "float_research.cache.Cache", "folder": "OUT", "memory_mb": 1, "disk_mb": 1},
    {"_target_": "lightning.Trainer", "default_root_dir": "OUT", "logger": True, "max_steps": 0},
    {"_target_": "${oc.env:ATTACK_SECRET}"},
    {"_target_": ["os", "system"]},
    {"_target_": "os.system", "command": "echo x > OUT/notes.txt", "_partial_": True},
)
PLACES = (
    *("checkpoint", "face", "cache", "model", "model.motion_autoencoder", "metrics.motion", "metrics.other", "trainer"),
    *("sampler", "solver", "data", "video", "checkpoint.file", "face.weights", "emotion", "logger.other", "noise"),
)
"""Places of a `_target_` in a config."""
VIDEOS: tuple[Any, ...] = (
    *("../../outside/settings.mp4", "../0/videos/portrait-a.mp4", "OUT/settings.mp4", "videos/../../../outside/x.mp4"),
    *("/dev/zero", "", ".", "..", "videos", "linked/settings.mp4", "a\0b", "\ud800.mp4", "x" * 5000, "videos/\n.mp4"),
    *(
        7,
        None,
        [],
        {"a": 1},
        "${oc.env:ATTACK_SECRET}.mp4",
        "<img src=x onerror=alert(1)>.mp4",
        "~/x.mp4",
        "record.json",
    ),
)
FIELDS = ("id", "image", "audio", "num_frames", "label", "face", "metrics", "absent", "traces", "from_video", "seconds")
ODD_NUMBERS: dict[str, tuple[Any, ...]] = {
    "model.fps": (0, -1, 1e-300, 1e300, float("nan"), "25", [25], None),
    "model.sampling_rate_hz": (0, 1, -1, 10**30, "x"),
    "model.motion_autoencoder.image_size": (0, -1, 10**6, 10**30, 64.5, {}),
    "background": ("<script>alert(1)</script>", "${oc.env:ATTACK_SECRET}", 7, []),
    "checkpoint": (None, [], "demo", 3),
    "cache.folder": ("OUT", "", "/dev/null", 7),
}
ODD_CONFIG: tuple[tuple[str, Any], ...] = (
    *((name, value) for name, values in ODD_NUMBERS.items() for value in values),
    ("a", {"b": "${a}"}),
    ("seed", "${oc.env:ATTACK_SECRET}"),
    ("time", "${now:%Y}"),
    ("name", "${asset:../../../../etc/passwd}"),
    ("trainer._target_", "lightning.Trainer"),
)
NAMES = (
    *("file:x.wav", "12:30:05.wav", "-x.wav", "concat:a.wav|b.wav", "pipe:0.wav", "data:audio,x.wav", "http:x.wav"),
    *("x" * 251 + ".wav", "é" * 125 + ".wav", "%03d.wav", "*.wav", "?.wav", "[a,b].wav", "{a}.wav", "${now:}.wav"),
    *("${oc.env:ATTACK_SECRET}.wav", "a\nb.wav", "a\rb.wav", "\x1b[31m.wav", "\u202egnp.wav", " .wav", "....wav"),
    *(
        "<script>alert(1)<.wav",
        '"quoted".wav',
        "'q'.wav",
        "back\\slash.wav",
        "a;b&c|d.wav",
        "$(touch x).wav",
        "`x`.wav",
    ),
    *("#a.wav", "a=b.wav", "~.wav", "名前.wav", "a,b.wav", "!!python.wav", "&a *a.wav", "CON.wav", "record.json.wav"),
    *("[bold red]x.wav", "{id}.wav", ".hidden.wav", "a\tb.wav", "x.wav.wav", "\udcff\udcfe.wav", "0.wav", "null.wav"),
)
WHERE = ("audio", "image", "id", "folder")


def tamper(runs: Path, chance: random.Random, number: int) -> str:
    """Makes run 1 of a sweep hostile; returns how."""
    run, outside = runs / samples.BAD, str((runs.parent / OUTSIDE).resolve())
    config = yaml.safe_load((run / "config.yaml").read_text())
    record = json.loads((run / "record.json").read_text())
    way, turn = number % 4, number // 4
    if way in (0, 1):
        turn = number // 4 * 2 + way
        target, place = TARGETS[turn % len(TARGETS)], PLACES[(turn + turn // len(TARGETS)) % len(PLACES)]
        put(config, place, target)
        told = f"{place}: {target}"
    elif way == 2:
        if turn % 2:
            name, value = ODD_CONFIG[turn // 2 % len(ODD_CONFIG)]
            put(config, name, value)
            told = f"{name}: {value!r}"
        else:
            value = VIDEOS[turn // 2 % len(VIDEOS)]
            record["clips"][0]["video"] = value
            (run / "linked").symlink_to(outside)
            told = f"video: {value!r}"[:200]
    elif turn % 2:
        field, value = FIELDS[turn // 2 % len(FIELDS)], chance.choice([*WORDS, *VIDEOS])
        record["clips"][0][field] = value
        record["clips"][0]["absent"] = {"<script>alert(1)</script>": "<img src=x onerror=alert(1)>"}
        told = f"{field}: {value!r}"[:200]
    else:
        config, record, told = changed(config, chance), changed(record, chance), "changes at random"
    said = json.dumps(record).replace(OUT, outside)
    (run / "record.json").write_text(said)
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False).replace(OUT, outside))
    return told


def put(tree: Any, name: str, value: Any) -> None:
    """Sets a value at a dotted name."""
    first, _, rest = name.partition(".")
    if rest and isinstance(tree.get(first), dict):
        put(tree[first], rest, value)
    else:
        tree[first] = {rest: value} if rest else value


def try_record(folder: Path, root: Path, chance: random.Random, number: int) -> Problems:
    """Measures, reports and summarises a sweep with one hostile run."""
    runs = folder / "runs"
    shutil.copytree(root / samples.SWEEP, runs)
    lay_canary(folder)
    lay_evil(folder)
    told, before = tamper(runs, chance, number), canary_state(folder)
    problems, said = Problems(), ""
    for name, arguments in (("measure", ["metrics=[motion]"]), ("report", []), ("summary", [])):
        ended = script(name, ["runs", *arguments], folder, watched=PROGRAMS)
        said += ended.output + ended.error
        problems += [(f"{what} in {name}", detail) for what, detail in told_well(ended, [0, 1, 2]) + watched(ended)]
        if ended.code == 2 and "no run under" not in ended.error:
            problems.append((f"one run stops {name}", ended.error))
        if name == "measure" and f"runs/{samples.GOOD}: measuring\n  measured" not in ended.output:
            problems.append(("the good run is not measured", ended.output + ended.error))
    if canary_state(folder) != before:
        problems.append(("touched files outside its folder", ""))
    problems += secrets(runs, said) + elements(runs / "report" / "index.html")
    return [(what, f"{told}\n{detail}") for what, detail in problems]


def lay_evil(folder: Path) -> None:
    """Writes programs that a record may name to the user's working directory."""
    target = folder / OUTSIDE / "notes.txt"
    (folder / f"{MODULE}.py").write_text(f"open({str(target)!r}, 'w').write('x')\ndef run(): pass\n")
    program = Runs(os.system, f"echo x > {target}")
    (folder / "evil.pkl").write_bytes(pickle.dumps(program))
    torch.save(program, folder / "evil.pt")


def watched(ended: Ended) -> Problems:
    return [(f"forbidden {ended.events[0].split()[0]}", "\n".join(ended.events))] if ended.events else []


def secrets(folder: Path, said: str) -> Problems:
    """Returns problems where an interpolation in a record revealed data of this machine."""
    secret, shown = next(iter(SECRET.values())), said
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".csv", ".html", ".yaml"):
            shown += path.read_text(encoding="utf-8", errors="replace")
    return [("an interpolation of a record was resolved", "")] if secret in shown else []


def elements(page: Path) -> Problems:
    """Returns problems where a record's text became HTML in a page."""
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    return [("an element of a record's making", "")] if "<script>alert" in text or "<img src=x" in text else []


def try_checkpoint(folder: Path, root: Path, chance: random.Random, number: int) -> Problems:
    """Resumes a training whose last checkpoint is damaged: it must continue or report it."""
    out = folder / "out"
    shutil.copytree(root / samples.TRAINED, out)
    last = out / "last.ckpt"
    last.write_bytes(mutated(number, "last.ckpt", number, [last.read_bytes()], None))
    (out / "weights.safetensors").unlink()
    ended = script("train", [*samples.TRAINING, f"hydra.run.dir={out}"], folder, watched=FILES)
    problems = told_well(ended, [0, 2]) + watched(ended) + left_over(out) + damaged_results(out)
    if ended.code == 0 and not (out / "weights.safetensors").is_file():
        problems.append(("success without weights", ended.output))
    if ended.code and "last.ckpt" not in ended.error:
        problems.append(("a message that does not name the file", ended.error))
    return problems


def damaged_results(out: Path) -> Problems:
    """Returns damaged files except the checkpoint, which the attack damaged."""
    return [problem for problem in damaged(out) if ".ckpt" not in problem[0]]


def try_resume(folder: Path, root: Path, chance: random.Random, number: int) -> Problems:
    """Resumes an inference with damaged records: invalid clips must be generated again."""
    out, audio = folder / "out", root / samples.MEDIA / "a.wav"
    settings = [*samples.TINY, "nfe=3", f"data.audio={audio}", f"hydra.run.dir={out}", "resume=true"]
    shutil.copytree(root / samples.SWEEP / samples.BAD, out)
    names = ("record.json", "videos/*.json", "config.yaml", "videos/*.motion.safetensors", "videos/*.mp4")
    path = next(iter(out.glob(names[number % len(names)])))
    text = {"json": "json", "yaml": "yaml"}.get(path.suffix[1:])
    path.write_bytes(mutated(number, "resume", number, [path.read_bytes()], text))
    ended = script("infer", settings, folder, watched=FILES)
    return told_well(ended, [0]) + watched(ended) + left_over(out) + damaged(out)


def try_name(folder: Path, root: Path, chance: random.Random, number: int) -> Problems:
    """Runs a valid file, clip or folder with a hostile name up to the page. Only a folder may be refused."""
    from float_research.data.examples import example

    name, where = NAMES[number // len(WHERE) % len(NAMES)], WHERE[number % len(WHERE)]
    folder.mkdir(parents=True, exist_ok=True)
    lay_canary(folder)
    before = canary_state(folder)
    audio = name if where == "audio" else "a.wav"
    image = name.removesuffix(".wav") + ".png" if where == "image" else "a.png"
    try:
        shutil.copy(root / samples.MEDIA / "a.wav", folder / audio)
        shutil.copy(example("photo"), folder / image)
        cells = [
            cell if '"' not in cell else cell.replace('"', '""')
            for cell in (image, audio, name if where == "id" else "")
        ]
        row = ",".join(f'"{cell}"' for cell in cells)
        (folder / "clips.csv").write_text(f"image,audio,id\n{row}\n", encoding="utf-8", newline="")
    except (OSError, UnicodeEncodeError):
        return []  # the file system allows no such name
    out = folder / "runs" / (name.removesuffix(".wav") if where == "folder" else "1")
    told = str(out).replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
    settings = [*samples.TINY, "nfe=2", "data=manifest", "data.file=clips.csv", f"hydra.run.dir='{told}'"]
    ended = script("infer", settings, folder, watched=FILES)
    problems = told_well(ended, [0, 2] if where == "folder" else [0]) + watched(ended)
    if (folder / "runs").is_dir():
        problems += left_over(folder / "runs") + damaged(folder / "runs")
    if ended.code and list(folder.glob("runs/*/videos/*.mp4")):
        problems.append(("refused after the work", ended.error))
    if ended.code == 0:
        report = script("report", ["runs"], folder, watched=PROGRAMS)
        problems += told_well(report, [0]) + watched(report) + elements(folder / "runs" / "report" / "index.html")
    if any(sign in ended.error + ended.output for sign in "\x1b\u202e"):
        problems.append(("control characters on the terminal", repr(ended.error + ended.output)[:2000]))
    problems += secrets(folder / "runs", ended.output + ended.error)
    if canary_state(folder) != before:
        problems.append(("touched files outside its folder", ""))
    return [(what, f"{where} {name!r}\n{detail}") for what, detail in problems]


Try = Callable[[Path, Path, random.Random, int], Problems]
TRIES: Mapping[str, Sequence[tuple[str, Try]]] = {
    "records": (
        *[("record", try_record)] * 6,
        ("last.ckpt", try_checkpoint),
        ("resume", try_resume),
    ),
    "names": (("name", try_name),),
}


def hostile(
    tally: Tally,
    folder: Path,
    root: Path,
    numbers: Sequence[int],
    seed: int,
    *,
    workers: int,
    command: Callable[[int], str],
) -> Tally:
    """Runs cases of records or names; folders of faults are kept."""
    began, tries = time.monotonic(), TRIES[tally.attack]

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {tally.attack} {number}")
        turn, which = divmod(number, len(tries))
        kind, attempt = tries[which]
        same = [index for index, (name, _) in enumerate(tries) if name == kind]
        place = folder / f"{tally.attack}{number}"
        shutil.rmtree(place, ignore_errors=True)
        problems = attempt(place, root.resolve(), chance, turn * len(same) + same.index(which))
        tally.note(kind, command(number), problems)
        if problems:
            told = "\n\n".join(f"{what}\n{detail}" for what, detail in problems)
            (place / "FAULT.txt").write_text(
                f"{command(number)}\n\n{told}\n", encoding="utf-8", errors="backslashreplace"
            )
        else:
            shutil.rmtree(place, ignore_errors=True)

    threads(work, numbers, workers)
    tally.seconds += time.monotonic() - began
    return tally
