"""What a report says, before it is written down in any format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aetransfer.config.commands import launched
from aetransfer.models.facts import Monitor
from aetransfer.printable import duration
from aetransfer.report import tables
from aetransfer.report.answer import Answer, answers
from aetransfer.report.cautions import cautions, examples
from aetransfer.report.collect import Collection, Unfinished
from aetransfer.report.comparison import OF_AN_ARM, Comparison, compare_all, pool
from aetransfer.report.figures import Plot, choose
from aetransfer.report.grouping import Group, group_runs, settings_of
from aetransfer.report.html import Picture, pictures
from aetransfer.report.statistics import ranges
from aetransfer.report.tables import TextTable, rank_correlations
from aetransfer.store.run import Groups, StoredRun

# What is needed to do a report's runs again: commands, versions, commits, hardware and seeds, each said once.


def reproduction(runs: Sequence[StoredRun]) -> list[tuple[str, list[str]]]:
    """Return headings, each with its lines."""
    facts = [
        ("Commands", _distinct(launched(run.result) for run in runs)),
        ("Seeds", [ranges(run.seed for run in runs)]),
        ("Versions", _distinct(map(_versions, runs))),
        ("Code", _distinct(map(_code, runs))),
        ("Hardware", _distinct(map(_hardware, runs))),
    ]
    return [(heading, lines) for heading, lines in facts if lines]


def _distinct(lines: Iterable[str]) -> list[str]:
    return sorted({line for line in lines if line})


def _versions(run: StoredRun) -> str:
    return ", ".join(f"{name} {number}" for name, number in (run.facts.versions or {}).items())


def _code(run: StoredRun) -> str:
    git = run.facts.git
    return f"commit {git.commit}{' with uncommitted changes' if git.dirty else ''}" if git else ""


def _hardware(run: StoredRun) -> str:
    its = run.facts.hardware
    if its is None:
        return ""
    threads = f"{its.threads} {'thread' if its.threads == 1 else 'threads'}"
    return ", ".join([f"{its.machine}, {its.cpus} CPU cores, {threads}", *its.gpus])


# The sections' titles. Their figures are called by them.
TRANSFERS, PRETRAININGS = "Transfers", "Pretrainings"
SPREAD = "mean ± standard deviation over n seeds"
SPREAD_OF_FOLDS = "mean ± standard deviation over n seeds and folds"
# A longer table is folded: the page is about what its rows come to. Of further tasks the table has the best in bold.
MOST_ROWS = 12
MOST_ANSWERS = 4


FOLDS = (
    "Runs with folds are tested on the fold that was left out of training. The test split is not used. Folds are not "
    "independent, so all 95 % intervals over folds use the correction of Nadeau and Bengio (2003): the variance "
    "between J of K folds counts 1/J + 1/(K - 1) times, with J - 1 degrees of freedom. The seeds of a fold count by "
    "their mean."
)


@dataclass(frozen=True)
class Block:
    """A table under its title. verdicts: whether its last words are verdicts."""

    title: str
    table: TextTable
    note: str = ""
    verdicts: bool = False

    @property
    def is_long(self) -> bool:
        return len(self.table.rows) > MOST_ROWS


@dataclass(frozen=True)
class Section:
    """A stage's part. compared: by which metrics, in words. each: every arm beside its control. overall: the arms over
    all settings. notes: what the reader must know to read its tables.
    """

    title: str
    compared: str
    columns: list[str]
    groups: list[Group]
    answers: list[Answer]
    each: list[Comparison]
    results: TextTable
    spread: str
    comparisons: TextTable | None
    overall: TextTable | None
    savings: TextTable | None
    transferability: TextTable | None
    costs: TextTable | None
    plots: list[Plot]
    notes: list[str]

    @property
    def pools_all(self) -> bool:
        """Tell whether every arm that was compared is in the table over all settings."""
        arms = {tuple(each.group.labels(OF_AN_ARM).values()) for each in self.each if each.paired}
        return self.overall is not None and len(arms) == len(self.overall.rows)

    @property
    def first(self) -> list[Block]:
        """Return the tables that stand before the figures."""
        helps = f"Does it help? Each arm less its control, in {self.compared}"
        each = helps if self.overall is None else "Setting by setting"
        bold = " Bold: best on validation." if self.answers else ""
        return [
            *([Block(f"{helps}, over the settings", self.overall, verdicts=True)] if self.overall else []),
            *([Block(each, self.comparisons, verdicts=True)] if self.comparisons else []),
            Block("Test metrics", self.results, f"{self.spread}.{bold}"),
        ]

    @property
    def further(self) -> list[Block]:
        tables = {
            "What the pretrained encoder saves": self.savings,
            "Transferability scores beside test metrics": self.transferability,
            "Average cost of a run": self.costs,
        }
        return [Block(title, table) for title, table in tables.items() if table is not None]


@dataclass(frozen=True)
class Content:
    """answers: what the report comes to, of transfers where there are any. cautions: what may explain it. examples: how
    many there were. finished: every run that the report is made of, the pretrainings of transfers included. left_out:
    why others are not in it, empty where there are none.
    """

    title: str
    lead: str
    left_out: str
    answers: list[Answer]
    cautions: list[str]
    examples: TextTable | None
    data_notes: list[str]
    sections: list[Section]
    unfinished: list[Unfinished]
    finished: list[StoredRun]
    pictures: list[Picture]
    pictures_left_out: int
    pretraining_cost: str
    reproduction: list[tuple[str, list[str]]]


def content_of(collection: Collection) -> Content:
    """Work a collection out into an answer, tables, figures and facts."""
    transfers = [run for run in collection.runs if run.stage == "transfer"]
    pretrainings = [run for run in collection.runs if run.stage == "pretrain"]
    drawn = {run.name: run for run in (*pretrainings, *collection.sources)}
    shown, left_out = pictures(list(drawn.values()))
    stages = {TRANSFERS: transfers, PRETRAININGS: pretrainings}
    sections = [_section(title, runs) for title, runs in stages.items() if runs]
    sources = list(drawn.values())
    groups = sections[0].groups if transfers else []
    warned = [said for monitor in tables.compared_by(groups) for said in cautions(groups, monitor, sources)]
    return Content(
        title=_title(transfers, pretrainings),
        lead=_lead(collection),
        left_out=_left_out(collection),
        answers=sections[0].answers[:MOST_ANSWERS] if sections else [],
        cautions=list(dict.fromkeys(warned)),
        examples=examples(transfers, sources) if sections else None,
        data_notes=_distinct(note for run in (*collection.runs, *sources) for note in run.facts.data.notes)[:MOST_ROWS],
        sections=sections,
        unfinished=collection.unfinished,
        finished=[*transfers, *drawn.values()],
        pictures=shown,
        pictures_left_out=left_out,
        pretraining_cost=_pretraining_cost(collection.sources),
        reproduction=reproduction([*collection.runs, *collection.sources]),
    )


def _section(title: str, runs: Sequence[StoredRun]) -> Section:
    columns, groups = group_runs(list(runs))
    # No comparison is made across metrics.
    alike = {
        monitor: [group for group in groups if group.compared == monitor]
        for monitor in tables.compared_by(groups)
        if any(monitor.metric in run.tested for group in groups for run in group.runs)
    }
    compared = [each for monitor, those in alike.items() for each in compare_all(those, monitor)]
    pooled = pool(compared, groups)
    answered = [
        answer
        for monitor, those in alike.items()
        for answer in answers(those, monitor, [each for each in pooled if each.first.monitor == monitor])
    ]
    (only,) = alike if len(alike) == 1 else (None,)
    drawn = alike or {Monitor(metric, "max"): groups for metric in tables.metrics_of(groups)[:1]}
    plots, left_out = [], []
    for number, (monitor, those) in enumerate(drawn.items(), 1):
        found, lines = choose(those, columns, monitor)
        plots += [replace(plot, name=f"{plot.name}_metric{number}") if number > 1 else plot for plot in found]
        left_out += lines
    return Section(
        title=title,
        compared=", ".join(f"{monitor.metric}{monitor.remark}" for monitor in alike),
        columns=columns,
        groups=groups,
        answers=answered,
        each=compared,
        results=tables.results(groups, columns, [answer.best for answer in answered]),
        spread=SPREAD_OF_FOLDS if any(run.folds for run in runs) else SPREAD,
        comparisons=tables.comparisons(compared, columns) if compared else None,
        overall=tables.overall(pooled),
        savings=tables.savings(groups, columns) if compared else None,
        transferability=rank_correlations(groups, only) if only and groups[0].arm else None,
        costs=tables.costs(groups, columns),
        plots=plots,
        notes=[*_notes(groups, compared=len(compared)), *left_out],
    )


def _notes(groups: Sequence[Group], compared: int) -> list[str]:
    notes = []
    sizes = {len(group.replicates) for group in groups}
    if 1 in sizes:
        notes.append("A group of one seed has no spread, no interval and no verdict.")
    if 2 in sizes:
        notes.append(
            "A group of two seeds has no bootstrap interval, which could only repeat the two values. Its verdict uses "
            "a t interval with one degree of freedom, which is wide."
        )
    if any(group.folds_of(group.replicates) for group in groups):
        notes.append(FOLDS)
    if any(len(group.replicates) < len(group.runs) for group in groups):
        notes.append(
            "Some groups have several runs of one seed. They differ in a key that this report does not compare, such "
            "as pretrain.seed. Their mean counts as one seed."
        )
    facts = [run.facts for group in groups for run in group.runs]
    notes += _groups_behind(groups)
    if own := sum(run.data.validation == "own" for run in facts):
        notes.append(
            f"In {own} of {len(facts)} runs validation is the data's own split: it does not vary with the seed."
        )
    if untested := sum(not run.counts.get("test", 1) for run in facts):
        notes.append(
            f"{untested} of {len(facts)} runs have no test split, and so no test metric. The page of each has the "
            "metric that chose its epoch."
        )
    if len(metrics := tables.compared_by(groups)) > 1:
        notes.append(
            f"Groups are compared by {', '.join(monitor.metric for monitor in metrics)}. Interval and IQM of a row are "
            "those of its own metric. Groups with different metrics are not compared."
        )
    if compared > 1:
        notes.append(
            f"{compared} comparisons at 5 % each, not corrected for their number: where no arm made any difference, "
            f"{0.05 * compared:.2g} of them would still say helps or hurts, on average."
        )
    return notes


def _groups_behind(groups: Sequence[Group]) -> list[str]:
    """Say how many groups, such as subjects, stand behind the numbers of each data set that has some."""
    by_data: dict[str, list[tuple[StoredRun, Groups]]] = {}
    for run in (run for group in groups for run in group.runs):
        if (of := run.facts.data.groups) is not None:
            by_data.setdefault(str(run.settings.get("data.name")), []).append((run, of))
    notes = []
    for data, found in by_data.items():
        parts = {"train on": "train", "validate": "val", "test on": "test"}
        counts = [f"{ranges(getattr(of, part) for _, of in found)} to {does}" for does, part in parts.items()]
        tested = {(run.folds, run.fold): of.test for run, of in found if run.folds}
        whole = sum(tested.values())
        rest = (
            f"{whole} in all {len(tested)} folds."
            if len(tested) > 1 and len({folds for folds, _ in tested}) == 1
            else "an interval over seeds does not say how other groups would come out."
        )
        notes.append(f"{data}: no group ({found[0][1].called}) is in two splits; a run has {', '.join(counts)}: {rest}")
    return notes


def _title(transfers: Sequence[StoredRun], pretrainings: Sequence[StoredRun]) -> str:
    if not transfers:
        names = _distinct(f"{run.settings['model.name']} on {run.settings['data.name']}" for run in pretrainings)
        return f"Pretraining: {', '.join(names)}" if names else "No finished run"
    settings = settings_of(transfers)
    targets = ", ".join(_distinct(settled["data"] for settled in settings))
    sources = ", ".join(_distinct(settled.get("pretrain.data", "") for settled in settings))
    titles = {run.model.title for run in transfers}
    what = f"{titles.pop()}s" if len(titles) == 1 else "models"
    return f"Transfer from {sources} to {targets}" if sources else f"{what[:1].upper()}{what[1:]} of {targets}"


def _lead(collection: Collection) -> str:
    runs, others = collection.runs, len(collection.unfinished)
    finished = f"{len(runs)} finished {'run' if len(runs) == 1 else 'runs'}"
    seeds = f", seeds {ranges(run.seed for run in runs)}" if runs else ""
    return f"{finished}{seeds}; {others or 'none'} failed, interrupted or missing."


def _left_out(collection: Collection) -> str:
    count = len(collection.untested)
    if not count:
        return ""
    runs, it = ("A finished run is", "it") if count == 1 else (f"{count} finished runs are", "them")
    return f"{runs} left out, because a search made {it} and did not test {it}: train with the same config does."


def _pretraining_cost(sources: Sequence[StoredRun]) -> str:
    seconds = [run.facts.timing.seconds for run in sources if run.facts.timing.seconds is not None]
    if not seconds:
        return ""
    took = duration(sum(seconds))
    if len(seconds) == 1:
        return f"In addition, one pretraining: {took}."
    return f"In addition, {len(seconds)} pretrainings, each done once: {took} in all."
