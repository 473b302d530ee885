"""Comparisons as files: CSV for programs, Markdown, LaTeX and figures for readers."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from float_research.analysis.comparison import STYLE, forest, ranking
from float_research.analysis.numbers import declared
from float_research.analysis.preferences import Poll
from float_research.analysis.preferences import tables as poll_tables
from float_research.analysis.statistics import Contrasts, Difference, rounded
from float_research.errors import UserError, printable, writable
from float_research.files import whole
from float_research.metrics.metric import Better

MADE = "float-research compare"
NAMES = {"comparison.csv": "metric,setting,", "comparison.md": f"<!-- {MADE}", "comparison.tex": f"% {MADE}"}
BEGINNINGS = {**NAMES, "preferences.csv": "first,second,votes_first,", "strengths.csv": "setting,votes,strength,"}
"""How each file begins, by which an earlier one is known."""
FIGURES = {"differences": forest, "ranks": ranking}
KINDS = {"pdf": {"Creator": MADE, "CreationDate": None}, "png": {"Software": MADE}}
"""Their formats, and what marks one as ours."""
DPI = 300
MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~&$]|^[-+=])")
LATEX_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
FOOT = "Best in bold; underlined: not separable from it (paired t-tests, Holm's correction, 5 %)."


def write(comparison: Contrasts, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes a comparison to a folder in all formats, atomically, in place of an earlier one.

    Returns the files, and why a figure is not among them.

    Raises:
        UserError: the folder has files of these names that are not ours.
    """
    texts = (csv(comparison), markdown(comparison), latex(comparison))
    contents = {name: encoded(text) for name, text in zip(NAMES, texts, strict=True)}
    notes = []
    for name, plot in FIGURES.items():
        if plot is ranking and len(comparison.means) < 3:
            continue
        try:
            figure = plot(comparison)
        except UserError as error:
            notes.append(f"no figure of {name}: {error}")
            continue
        contents |= {f"{name}.{kind}": drawn(figure, kind) for kind in KINDS}
    files = place(folder, contents)
    for path in (folder / f"{name}.{kind}" for name in FIGURES for kind in KINDS):
        if path not in files and is_ours(path):  # of an earlier comparison
            path.unlink()
    return files, notes


def write_poll(found: Poll, folder: Path) -> list[Path]:
    """Writes what votes say to a folder as CSV, like `write`."""
    texts = {name: table.map(writable).to_csv(index=False) for name, table in poll_tables(found).items()}
    return place(folder, {name: encoded(text) for name, text in texts.items()})


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def drawn(figure: Figure, kind: str) -> bytes:
    """Returns a figure as a file that names us as its maker."""
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format=kind, dpi=DPI, metadata=KINDS[kind])
    return file.getvalue()


def is_ours(path: Path) -> bool:
    """Returns whether a file of one of our names was written by us."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    return content.startswith(BEGINNINGS[path.name].encode()) if path.name in BEGINNINGS else MADE.encode() in content


def place(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Writes files of ours, unless one of another origin has its name."""
    for name in contents:
        path = folder / name
        if path.exists() and not is_ours(path):
            raise UserError(f"{path} was not written by float-research; move it elsewhere or choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with whole(folder / name) as part:
            part.write_bytes(content)
    return [folder / name for name in contents]


def row(difference: Difference) -> dict[str, object]:
    """Returns the columns of a difference."""
    return {
        "metric": difference.number.name,
        "setting": difference.setting,
        "baseline": difference.baseline,
        "unit": difference.number.unit,
        "better": difference.number.better,
        "mean": difference.mean,
        "baseline_mean": difference.baseline_mean,
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "separable": difference.separable,
        "p_sign_flip": difference.p_sign_flip,
        "effect": difference.effect,
        "detectable": difference.detectable,
        "pairs": difference.design.num_pairs,
        **{f"{name.replace(' ', '_')}s": number for name, number in difference.design.units.items()},
    }


def csv(comparison: Contrasts) -> str:
    table = pd.DataFrame([row(difference) for difference in comparison.differences])
    return table.map(writable).to_csv(index=False)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a format writes foreign text, the best value, one not separable from it, and better directions."""

    escape: Callable[[str], str]
    bold: str
    underlined: str
    higher: str
    lower: str
    close_to: str

    def heading(self, name: str) -> str:
        better = declared(name).better
        arrows = {Better.HIGHER: self.higher, Better.LOWER: self.lower, None: ""}
        return self.escape(name) + (self.close_to.format(better) if isinstance(better, float) else arrows[better])

    def lines(self, comparison: Contrasts) -> list[list[str]]:
        """Returns the cells of a table of means, headings first."""
        halves: dict[str, float] = {}
        for item in comparison.differences:
            halves[item.number.name] = max(halves.get(item.number.name, 0), (item.high - item.low) / 2)
        lines = [["setting", *(self.heading(str(name)) for name in comparison.means)]]
        for setting, means in comparison.means.iterrows():
            cells = [self.escape(str(setting))]
            for name, value in means.items():
                best, alike = comparison.best.get(str(name)), comparison.inseparable.get(str(name), ())
                style = self.bold if setting == best else self.underlined if setting in alike else "{}"
                cells.append(style.format(self.escape(rounded(value, halves[str(name)]))))
            lines.append(cells)
        return lines


def markdown(comparison: Contrasts) -> str:
    """Returns a table of means with a row per setting, and a sentence per difference."""
    lines = MARKDOWN.lines(comparison)
    head, *rows = [f"| {' | '.join(cells)} |" for cells in lines]
    rule = f"|---|{'---:|' * (len(lines[0]) - 1)}"
    sentences = [f"- {escape_markdown(str(difference))}" for difference in comparison.differences]
    return "\n".join([f"<!-- {MADE} -->", head, rule, *rows, "", FOOT, "", *sentences, ""])


def latex(comparison: Contrasts) -> str:
    """Returns a table of means with a row per setting, for the package booktabs."""
    lines = LATEX.lines(comparison)
    head, *rows = [rf"{' & '.join(cells)} \\" for cells in lines]
    return "\n".join([
        f"% {MADE}; needs \\usepackage{{booktabs}}. {FOOT}",
        rf"\begin{{tabular}}{{l{'r' * (len(lines[0]) - 1)}}}",
        r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", "",
    ])  # fmt: skip


def escape_markdown(text: str) -> str:
    return MARKDOWN_SIGNS.sub(r"\\\1", printable(text, len(text)))


def escape_latex(text: str) -> str:
    return "".join(LATEX_SIGNS.get(sign, sign) for sign in printable(text, len(text)))


MARKDOWN = Style(
    escape=escape_markdown, bold="**{}**", underlined="<u>{}</u>", higher=" ↑", lower=" ↓", close_to=" → {:g}"
)
LATEX = Style(
    escape=escape_latex,
    bold=r"\textbf{{{}}}",
    underlined=r"\underline{{{}}}",
    higher=r" $\uparrow$",
    lower=r" $\downarrow$",
    close_to=r" $\to {:g}$",
)
