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

# How the report's numbers are made, in the sentences that stand below them.

HOW = [
    "Every number is of the test split, measured once, at the epoch that was best on the validation split. The best "
    "arm and the run of the command are chosen on validation, never on test.",
    "The answer's interval adds two variances. Seeds: s² / n. Test set of N examples: p (1 - p) / N, which more seeds "
    "do not lower. Of a difference the test part is the sum of both shares', too wide where both err on the same "
    "examples.",
    "The tables' 95 % intervals are percentile bootstraps over seeds (stratified by setting where several are "
    "pooled), from 3 seeds on; IQM is the interquartile mean, shown from 4 values on.",
    "Differences are paired by seed within equal other settings. An arm helps or hurts, relative to the control that "
    "is named, where the paired t interval leaves 0 out; at 3 to 5 seeds a bootstrap covers far less than 95 %.",
    "Over the settings: each seed's differences are averaged over all settings, and a paired t interval is taken over "
    "seeds, since the settings share them. p is corrected for the number of arms (Holm 1979).",
    "P(better) is the share of seeds in which the arm beats its control, ties counting half. Where a lower value is "
    "better, an arm helps by a difference below 0.",
    "The seeds that might show a difference give a paired t test 80 % power, if the true effect is the one observed; "
    "from so few seeds that is a rough guess.",
    "Transfer ratio: mean of the arm over that of its control, on the same seeds; above 1 the arm is better; where a "
    "lower value is better, below 1.",
    "Label savings: labels that the control needs to be as good as the arm, over the labels the arm had. The "
    "control's curve is taken as linear in log(labels) between its points.",
    "Transferability: rank correlation over an arm's runs of its scores (evaluation=transferability, on training "
    "images) with how good the test metric is. Settings that change both the scores and the task are not apart.",
    "Epochs to 95 % of scratch: the median first epoch whose validation metric is 95 % or more of what training from "
    "scratch has after its last epoch; where a lower value is better, at most that over 0.95.",
]


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
        how=HOW,
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
    return filled("summary.md.jinja", content=content, today=today.isoformat(), how=HOW)
