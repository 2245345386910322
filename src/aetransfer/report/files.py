"""A report's files: results.csv, summary.md, index.html and the figures. Only the line of the date tells two apart."""

import csv
from collections.abc import Mapping
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

from aetransfer.errors import UserError
from aetransfer.files import WriteError, replace_file
from aetransfer.report.drawing import rendered
from aetransfer.report.grouping import label
from aetransfer.report.html import data_uri, filled, link
from aetransfer.report.sweep import PRETRAININGS, TRANSFERS, Content
from aetransfer.report.tables import metrics_of
from aetransfer.store.directory import RunDirectory

# A sweep's report as one self-contained HTML page: the template beside this file, with figures and pictures inside.


def page(content: Content, svgs: Mapping[str, bytes], links: Mapping[str, str], today: date) -> str:
    """Fill the template.

    svgs: by file name. Each is an image of its own: ids inside two SVGs of a page would clash. links: addresses of the
    runs' own pages, by the runs' names.
    """
    return filled(
        "sweep.html.jinja",
        content=content,
        images={name: data_uri(svg, "svg+xml") for name, svg in svgs.items()},
        links=links,
        today=today.isoformat(),
    )


def write_report(content: Content, folder: Path, today: date) -> Path:
    """Write all files of a report, over those of an earlier one. Returns index.html's path.

    Raises UserError where the folder can't be written, or is a link.
    """
    svgs: dict[str, bytes] = {}
    files: dict[str, str | bytes] = {}
    for section in content.sections:
        for plot in section.plots:
            name = f"{section.title.lower()}_{plot.name}"
            svgs[name], files[f"figures/{name}.pdf"] = rendered(plot.figure)
            files[f"figures/{name}.svg"] = svgs[name]
    files["results.csv"] = as_csv(content)
    files["summary.md"] = as_markdown(content, today)
    files["index.html"] = page(content, svgs, _links(content, folder), today)
    try:
        _write(files, folder)
    except (OSError, WriteError) as error:
        # A WriteError says what becomes of a run; what it came of says what is wrong with the folder.
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or cause
        raise UserError(
            f"The report can't be written to {folder} ({reason}): mend that, or name another folder with out=FOLDER."
        ) from error
    return folder / "index.html"


def _write(files: dict[str, str | bytes], folder: Path) -> None:
    """Write `files`, by their places in the folder, and remove an earlier report's figures that are not among them."""
    figures = folder / "figures"
    # A sweep's directory that came from elsewhere may hold links, and below files are replaced and removed.
    for place in (folder, figures):
        if place.is_symlink():
            raise UserError(
                f"{place} is a link, and a report is not written through one: remove it, or name out=FOLDER."
            )
    figures.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        replace_file(folder / name, text)
    # Anything else in a folder that out= names is the user's own.
    earlier = tuple(f"{title.lower()}_" for title in (TRANSFERS, PRETRAININGS))
    for old in figures.iterdir():
        if old.name.startswith(earlier) and old.suffix in (".svg", ".pdf") and f"figures/{old.name}" not in files:
            old.unlink()


def _links(content: Content, folder: Path) -> dict[str, str]:
    """Return the addresses of those runs' own pages that are there."""
    places = [*(run.directory.path for run in content.finished), *(run.path for run in content.unfinished if run.path)]
    return {path.name: link(page, folder) for path in places if (page := RunDirectory(path).page).is_file()}


def as_csv(content: Content) -> str:
    """Write one row a group and metric, in full precision; empty where there is no such number."""
    columns = list(dict.fromkeys(column for section in content.sections for column in section.columns))
    rows = []
    for section in content.sections:
        for group in section.groups:
            folds = sorted({run.fold for run in group.runs if run.fold is not None})
            about = {"stage": group.runs[0].stage}
            about |= {column: label(column, group.setting) for column in columns if column in group.setting}
            runs: dict[str, list[Any]] = {
                "seeds": group.seeds,
                "folds": folds,
                "runs": [run.name for run in group.runs],
            }
            for metric in metrics_of([group]):
                summary = group.summary(metric)
                assert summary is not None, metric
                low, high = summary.interval or (None, None)
                numbers = {"mean": summary.mean, "sd": summary.sd, "ci_low": low, "ci_high": high, "iqm": summary.iqm}
                words = {key: " ".join(map(str, values)) for key, values in runs.items()}
                rows.append({**about, "metric": metric, **numbers, "n": summary.n, **words})
    named = ["stage", *columns, "metric", "mean", "sd", "ci_low", "ci_high", "iqm", "n", "seeds", "folds", "runs"]
    if not any(row["folds"] for row in rows):
        named.remove("folds")
    file = StringIO()
    table = csv.DictWriter(file, named, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return file.getvalue()


def as_markdown(content: Content, today: date) -> str:
    return filled("summary.md.jinja", content=content, today=today.isoformat())
