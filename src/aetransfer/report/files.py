"""A report's files: results.csv, summary.md, index.html and the figures. Only the line of the date tells two apart."""

import csv
from collections.abc import Iterator, Mapping
from datetime import date
from io import StringIO
from pathlib import Path

from aetransfer.errors import UserError
from aetransfer.files import WriteError, replace_file
from aetransfer.report.drawing import rendered
from aetransfer.report.html import data_uri, filled, link
from aetransfer.report.sweep import PRETRAININGS, TRANSFERS, Content
from aetransfer.report.tables import escaped, markdown_of, metrics_of
from aetransfer.store.directory import RunDirectory

# How the report's numbers are made, in the sentences that stand below them.

HOW = [
    "Every number is of the test split, measured once, at the epoch that was best on the validation split.",
    "The tables' 95 % intervals are percentile bootstraps over seeds (stratified by setting where several are pooled), "
    "from 3 seeds on; IQM is the interquartile mean, which with fewer than 4 values is the mean.",
    "Differences are paired by seed within equal other settings. An arm helps or hurts where the paired t interval "
    "leaves 0 out; a bootstrap is not asked, since at 3 to 5 seeds it covers far less than 95 %.",
    "P(better) is the share of seeds in which the arm beats its control, ties counting half. Where a lower value is "
    "better, an arm helps by a difference below 0.",
    "The seeds that would settle a comparison give a paired t test 80 % power, if the true effect is the one observed; "
    "from so few seeds that is a rough guess.",
    "Transfer ratio: mean of the arm over that of its control, on the same seeds; above 1 the arm is better; where a "
    "lower value is better, below 1.",
    "Label savings: labels that the control needs to be as good as the arm, over the labels the arm had. The control's "
    "curve is taken as linear in log(labels) between its points.",
    "Promised and reached: rank correlation over an arm's runs of transferability scores (evaluation=transferability, "
    "on training images) with how good the test metric is. Runs whose settings change both the scores and the task are "
    "not apart.",
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
    groups = [group for section in content.sections for group in section.groups]
    folds = ["folds"] if any(run.folds for group in groups for run in group.runs) else []
    file = StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(
        ["stage", *columns, "metric", "mean", "sd", "ci_low", "ci_high", "iqm", "n", "seeds", *folds, "runs"]
    )
    for section in content.sections:
        for group in section.groups:
            for metric in metrics_of([group]):
                summary = group.summary(metric)
                assert summary is not None, metric
                low, high = summary.interval or (None, None)
                numbers = [summary.mean, summary.sd, low, high, summary.iqm, summary.n]
                setting = [label if label != "–" else "" for label in group.labels(columns)]
                seeds = " ".join(map(str, group.seeds))
                of = " ".join(map(str, sorted({run.fold for run in group.runs if run.fold is not None})))
                names = " ".join(run.name for run in group.runs)
                table.writerow([group.runs[0].stage, *setting, metric, *numbers, seeds, *[of for _ in folds], names])
    return file.getvalue()


def as_markdown(content: Content, today: date) -> str:
    return "\n".join(_markdown(content, today)) + "\n"


def _markdown(content: Content, today: date) -> Iterator[str]:
    yield from (
        f"# {escaped(content.title)}",
        "",
        f"Date: {today.isoformat()}",
        "",
        " ".join([content.lead, content.left_out]).strip(),
        "",
    )
    if content.unfinished:
        yield from ("## Not finished", "", *(f"- {escaped(str(run))}" for run in content.unfinished), "")
    for section in content.sections:
        yield from (f"## {section.title}", "")
        if section.comparisons:
            yield from (f"### Does it help? In {escaped(section.compared)}", "", *markdown_of(section.comparisons), "")
        yield from ("### Test metrics", "", *markdown_of(section.results), "", f"{section.spread}.", "")
        tables = {
            "All settings": section.overall,
            "Savings": section.savings,
            "Promised and reached": section.promises,
            "Cost": section.costs,
        }
        for title, table in tables.items():
            if table is not None:
                yield from (f"### {title}", "", *markdown_of(table), "")
        yield from (*(f"- {escaped(note)}" for note in section.notes), "")
        for plot in section.plots:
            yield from (f"![{escaped(plot.caption)}](figures/{section.title.lower()}_{plot.name}.svg)", "")
    if content.pretraining_cost:
        yield from (content.pretraining_cost, "")
    yield from ("## To reproduce", "")
    for heading, lines in content.reproduction:
        yield from (
            f"- {heading}:",
            *(f"  - {_code(line) if heading == 'Commands' else escaped(line)}" for line in lines),
        )
    yield from ("", "## How the numbers are made", "", *(f"- {sentence}" for sentence in HOW))


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{' '.join(text.splitlines())}{fence}"
