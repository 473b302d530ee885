"""Comparisons as files: CSV for programs, Markdown and LaTeX for readers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from float_research.analysis.numbers import declared
from float_research.analysis.preferences import Poll
from float_research.analysis.preferences import tables as poll_tables
from float_research.analysis.statistics import Contrasts, Difference, rounded
from float_research.errors import UserError, printable, writable
from float_research.metrics.metric import Better
from float_research.tracking.record import write_text

MADE = "float-research compare"
NAMES = {"comparison.csv": "metric,setting,", "comparison.md": f"<!-- {MADE}", "comparison.tex": f"% {MADE}"}
BEGINNINGS = {**NAMES, "preferences.csv": "first,second,votes_first,", "strengths.csv": "setting,votes,strength,"}
"""How each file begins, by which an earlier one is known."""
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


def write(comparison: Contrasts, folder: Path) -> list[Path]:
    """Writes a comparison to a folder in all formats, atomically, in place of an earlier one.

    Raises:
        UserError: the folder has files of these names that are not ours.
    """
    contents = (csv(comparison), markdown(comparison), latex(comparison))
    return place(folder, dict(zip(NAMES, contents, strict=True)))


def write_poll(found: Poll, folder: Path) -> list[Path]:
    """Writes what votes say to a folder as CSV, like `write`."""
    return place(folder, {name: table.map(writable).to_csv(index=False) for name, table in poll_tables(found).items()})


def place(folder: Path, contents: Mapping[str, str]) -> list[Path]:
    """Writes files of ours, unless one of another origin has its name."""
    for name in contents:
        path = folder / name
        if path.exists() and not (path.is_file() and path.read_bytes().startswith(BEGINNINGS[name].encode())):
            raise UserError(f"{path} was not written by float-research; move it elsewhere or choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_text(folder / name, content)
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
