"""Runs measured and reported from Python: what ``labelspace evaluate`` and ``labelspace report`` do, as objects."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelspace.data import frames, paths
from labelspace.data.splits import Split
from labelspace.data.store import Progress
from labelspace.errors import UserError, option
from labelspace.evaluation import kept, whole
from labelspace.evaluation.diagnosis import Finding, diagnose
from labelspace.reporting import comparison, page, runs
from labelspace.reporting.evaluation import figures, tables
from labelspace.reporting.evaluation import page as evaluation_page
from labelspace.reporting.figures import write as write_figure
from labelspace.storage import files
from labelspace.training.loop import Fitted
from labelspace.training.run import Run
from labelspace.training.trained import AnyRun, Trained

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

_FEWEST = 20


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What was measured on a run.

    Attributes:
        found: everything, as plain data; see :func:`labelspace.evaluation.whole.evaluate` and ``docs/evaluation.md``.
        findings: what the diagnosis says, worst first.
        home: the run directory that it was written into, if any.
    """

    found: dict[str, Any]
    findings: tuple[Finding, ...]
    home: Path | None = None

    def tables(self) -> dict[str, tuple[list[str], list[list[str]]]]:
        """Title -> header and rows, as texts."""
        return {title: (list(header), [list(row) for row in rows]) for title, header, rows in tables(self.found)}

    def to_frame(self, title: str) -> IntoDataFrame:
        """One of the tables as a frame of texts, by the beginning of its title.

        Raises:
            UserError: there is no such table, or no library for frames.
        """
        found = self.tables()
        name = next((name for name in found if name.lower().startswith(title.lower())), None)
        if name is None:
            raise UserError(f"there is no table {title!r}; there are: {', '.join(found)}")
        header, rows = found[name]
        return frames.make({column: [row[i] for row in rows] for i, column in enumerate(header)})

    def __getitem__(self, part: str) -> Any:
        return self.found[part]

    def __repr__(self) -> str:
        lines = [f"Evaluation of {self.found['samples']:,} {self.found['split']} samples of {self.found['data']}"]
        lines += [f"{finding.kind}, {finding.where}: {finding.what}" for finding in self.findings] or ["no alarm"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<p>{'<br>'.join(map(html.escape, repr(self).splitlines()))}</p>"]
        for title, (header, rows) in self.tables().items():
            head = "".join(f"<th>{html.escape(str(name))}</th>" for name in header)
            body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
            parts.append(f"<p><b>{html.escape(title)}</b></p><table><tr>{head}</tr>{body}</table>")
        return f"<div>{''.join(parts)}</div>"


def evaluate(
    run: AnyRun,
    data: Any = None,
    *,
    split: Split = "test",
    most: int = 10_000,
    seed: int = 0,
    depth: whole.Depth = "all",
    tell: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Measures a trained model: edits, leaks, codes, predictions, samples, and a diagnosis.

    Of a run directory, ``evaluation.json``, ``evaluation.md`` and figures are written into it.

    Args:
        run: a run directory, what :func:`labelspace.fit` returned, or a model.
        data: an address or what :func:`labelspace.open` takes; by default the run's own data.
        split: which samples.
        most: at most so many of them, at least 20.
        seed: of the judge, draws and resampling.
        depth: "quick", "edits" or "all"; see :func:`labelspace.evaluation.whole.evaluate`.
        tell: told which part is measured.

    Raises:
        UserError: data that are not there or do not fit the model.
    """
    began = time.monotonic()
    trained = Trained.of(run)
    model, home = trained.model, trained.home
    if most < _FEWEST:
        raise UserError(f"{option('most')} is the number of samples that are measured, at least {_FEWEST}; got {most}")
    # With every label that is known: what was hidden or made wrong for training is there again to measure on.
    opened = trained.data(data, list(model.schema.names))
    if opened.schema != model.schema or opened.shape != model.shape:
        raise UserError(
            f"{opened.address} has {opened.shape} and {opened.schema}, the model was trained for {model.shape} and "
            f"{model.schema}"
        )
    found = whole.evaluate(model, opened, split=split, most=most, seed=seed, depth=depth, tell=tell)
    on_disk = home is not None and (home / "model.safetensors").exists()
    if home is not None and on_disk:
        found = kept.marked(home, found)
    findings = diagnose(found, Run(home).metrics() if home is not None and on_disk else [])
    found["diagnosis"] = [finding.to_dict() for finding in findings]
    if home is not None and on_disk:
        drawn = figures(model, opened, found, opened.rows(split)[:most])
        for name, figure in drawn.items():
            write_figure(figure, home / "figures" / name)
        files.write(home / "evaluation.md", evaluation_page(found, findings, home.name, list(drawn)))
    found["seconds"]["all"] = round(time.monotonic() - began, 1)
    if home is not None and on_disk:
        kept.write(home, found)
    return Evaluation(found, tuple(findings), home)


@dataclass(frozen=True)
class Report:
    """A page of one or several runs.

    Attributes:
        path: the page, one file of HTML.
        about: what it has, as plain data.
        subjects: the runs that it reports.
    """

    path: Path
    about: dict[str, Any]
    subjects: tuple[runs.Subject, ...]

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r}, {self.about['bytes'] / 1e6:.1f} MB)"

    def _repr_html_(self) -> str:
        page_ = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page_}" width="100%" height="700" style="border:1px solid #ccc"></iframe>'


def report(
    run: str | Path | Fitted,
    *others: str | Path | Fitted,
    data: Any = None,
    out: str | Path | None = None,
    quick: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Writes one page of a run, or of several side by side.

    Args:
        run, others: run directories, or what :func:`labelspace.fit` returned for them.
        data: the runs' data, where they cannot open them themselves.
        out: the page; by default ``report.html`` in the run, of several in the working directory.
        quick: do not measure what edits do to every label.
        progress: told how far reading the data is.
        tell: told what is being done.

    Raises:
        UserError: no run, the same run twice, or a training without a directory.
    """
    homes = [_home(one) for one in (run, *others)]
    if len({home.resolve() for home in homes}) < len(homes):
        raise UserError("the same run is given twice; a comparison needs different runs")
    subjects = [runs.read(home, depth="quick" if quick else "edits", data=data, progress=progress, tell=tell) for home in homes]
    runs.distinct(subjects)
    path = paths.own(out) if out else homes[0] / "report.html" if len(homes) == 1 else Path("report.html")
    text, sections = page.write(subjects[0], tell) if len(subjects) == 1 else comparison.write(subjects, tell)
    files.write(path, text)
    about: dict[str, Any] = {
        "out": str(path),
        "bytes": len(text.encode()),
        "sections": sections,
        "runs": [page.describe(subject) for subject in subjects],
    }
    return Report(path, about, tuple(subjects))


def _home(run: str | Path | Fitted) -> Path:
    if isinstance(run, Fitted):
        if run.home is None:
            raise UserError("this training wrote no run directory, and a report is of one: fit(..., out=DIR)")
        return run.home
    return paths.own(run)
