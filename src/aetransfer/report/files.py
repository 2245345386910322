"""How a sweep's report is written: on the terminal, and as results.csv, summary.md, index.html and figures."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from io import StringIO
from pathlib import Path

from markupsafe import Markup

from aetransfer.errors import UserError
from aetransfer.files import WriteError, replace_file
from aetransfer.printable import console, printable
from aetransfer.report.collect import Unfinished, collect_sweep
from aetransfer.report.drawing import rendered
from aetransfer.report.hparams import write_hparams
from aetransfer.report.html import data_uri, filled, link
from aetransfer.report.statistics import NOTHING
from aetransfer.report.sweep import PRETRAININGS, TRANSFERS, Content, Section, content_of
from aetransfer.report.tables import CI, TextTable, effect, metrics_of
from aetransfer.store.directory import RunDirectory
from aetransfer.store.listing import print_table
from aetransfer.sweeps.jobs import causes, labels, read_planned


def write_report(content: Content, folder: Path, today: date) -> Path:
    """Write all files of a report, over those of an earlier one. Returns index.html's path.

    Raises UserError where the folder can't be written, or is a link.
    """
    # Each SVG is an image of its own on the page: the ids inside two of them would clash.
    images: dict[str, Markup] = {}
    files: dict[str, str | bytes] = {}
    for section in content.sections:
        for plot in section.plots:
            name = f"{section.title.lower()}_{plot.name}"
            svg, files[f"figures/{name}.pdf"] = rendered(plot.figure)
            files[f"figures/{name}.svg"], images[name] = svg, data_uri(svg, "svg+xml")
    files["results.csv"] = as_csv(content)
    files["summary.md"] = as_markdown(content, today)
    links, written = _links(content, folder), today.isoformat()
    files["index.html"] = filled("sweep.html.jinja", content=content, images=images, links=links, today=written)
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
            about = {"stage": group.runs[0].stage} | group.labels(each for each in columns if each in group.setting)
            behind: dict[str, Sequence[object]] = {
                "seeds": group.seeds,
                "folds": folds,
                "runs": [run.name for run in group.runs],
            }
            words = {key: " ".join(map(str, values)) for key, values in behind.items()}
            for metric in metrics_of([group]):
                summary = group.summary(metric)
                assert summary is not None, metric
                low, high = summary.interval or (None, None)
                numbers = {"mean": summary.mean, "sd": summary.sd, "ci_low": low, "ci_high": high, "iqm": summary.iqm}
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


# A report on the terminal: its answer, and the page's tables as far as they fit.

# More would push the answer out of sight; the page has them all.
MOST_ROWS = 12
# Columns from which all metrics are shown, in characters.
WIDE = 120


def print_report(content: Content) -> None:
    out = console()

    def say(line: str, whole: bool = False) -> None:
        # A terminal would break words; what is pasted or read by a program is one line.
        out.print(printable(line), markup=False, highlight=False, soft_wrap=whole or not out.is_terminal)

    for answer in content.answers:
        for line in (answer.task, *answer.sentences, *answer.meaning):
            if line:
                say(line)
        say(f"Use it: {answer.command}", whole=True)
    for caution in content.cautions:
        say(f"Note: {caution}")
    for section in content.sections:
        if section.overall and section.pools_all and len(section.results.rows) > MOST_ROWS:
            overall = section.overall
            kept = (*overall.header[: overall.texts], "difference", CI, "n")
            _print(overall if out.width >= WIDE else overall.without(set(overall.header) - set(kept)))
            say(f"{len(section.results.rows)} groups: the page and results.csv have each.")
            continue
        _print(_results(section, out.width >= WIDE))
        say(section.spread)
        if len(section.each) <= MOST_ROWS:
            for comparison in section.each:
                setting = comparison.group.labels(column for column in section.columns if column != "transfer")
                arm = f"{comparison.group.arm} – {comparison.control}:"
                shown = [cell for cell in effect(comparison.paired).values() if cell != NOTHING]
                say(" ".join([*setting.values(), arm, *shown, comparison.verdict]))
    if content.left_out:
        say(content.left_out)


def _results(section: Section, wide: bool) -> TextTable:
    """Return the results, with the differences in the place of the metrics for which there is no room."""
    table = section.results
    leading = {group.compared.metric for group in section.groups if group.compared}
    if wide or not leading:
        return table
    table = table.without([each for each in table.header[table.texts :] if each not in (*leading, "n")])
    differences = {id(each.group): f"{each.paired.mean:+.4f}" for each in section.each if each.paired}
    if not differences:
        return table
    cells = ["difference", *(differences.get(id(group), NOTHING) for group in section.groups)]
    rows = [[*row[:-1], cell, row[-1]] for row, cell in zip((table.header, *table.rows), cells, strict=True)]
    return replace(table, header=rows[0], rows=rows[1:])


def _print(shown: TextTable) -> None:
    """Print a table, with the last parts of keys as headings where they tell them apart."""
    last = [heading.rpartition(".")[2] for heading in shown.header]
    header = [
        last[place] if last.count(last[place]) == 1 and place < shown.texts else heading
        for place, heading in enumerate(shown.header)
    ]
    print_table(header, shown.rows, shown.texts, shown.bold)


def conclude(sweep: Path) -> None:
    """Print and write what a sweep came to. The last lines name the jobs that failed, and the sweep."""
    collection = collect_sweep(sweep)
    content = content_of(collection)
    print_report(content)
    write_hparams(collection.runs, sweep)
    print(f"report: {write_report(content, sweep / 'report', date.today())}")
    say_unfinished(content.unfinished, sweep)
    print(f"sweep: {sweep}")


def say_unfinished(unfinished: Sequence[Unfinished], sweep: Path | None = None) -> None:
    """Print what did not finish, and why, those of one cause in one line. sweep: that all of them are of."""
    planned = read_planned(sweep) if sweep else {}
    said = {" ".join(planned[number]): label for number, label in labels(planned).items()}
    for status in dict.fromkeys(run.status for run in unfinished):
        for entry in causes((said.get(run.what, run.what), run.why) for run in unfinished if run.status == status):
            print(printable(f"{status}: {entry}"))
