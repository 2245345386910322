"""What a run's page says, in sentences and tables."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aetransfer.config.commands import again, allowed, command, of_control, quoted
from aetransfer.config.schema import ARM
from aetransfer.config.shapes import noun_of
from aetransfer.errors import UserError
from aetransfer.files import WriteError, last_lines, read_bytes, replace_file
from aetransfer.printable import duration, without_secrets
from aetransfer.report.html import filled, pictures_of
from aetransfer.report.run_parts import (
    OF_CALLBACKS,
    STARTS,
    STATUS,
    TREATMENTS,
    Measure,
    Relative,
    Subject,
    charts,
    control_of,
    measures_of,
    source_of,
    subject_at,
    write_on_card,
)
from aetransfer.report.sweep import reproduction
from aetransfer.report.tables import TextTable
from aetransfer.store.directory import RunDirectory
from aetransfer.transfer.card import caveats

LOG_LINES = 25
SCRATCH = {"_target_": ARM, "weights": "fresh", "encoder": "trained"}


@dataclass(frozen=True)
class Problem:
    """Why a run has not finished, and what to do. resume: the command that goes on."""

    status: str
    why: str
    progress: str
    log: list[str]
    resume: str


@dataclass(frozen=True)
class Comparison:
    """sentence: how a transfer stands to its control. command: what makes it, where there is none in the store."""

    sentence: str
    control: Relative | None
    command: str = ""


def page_of(subject: Subject) -> str:
    """Write the page of a run in whatever state it is."""
    directory, finished = subject.directory, subject.status == "finished"
    measures = measures_of(directory)
    return filled(
        "run.html.jinja",
        name=subject.run.name,
        title=_title(subject),
        status=STATUS.get(subject.status, subject.status),
        lead=_lead(subject),
        problem=None if finished else _problem(subject),
        numbers=_numbers(subject),
        caveats=_caveats(subject) if finished else [],
        comparison=_comparison(subject) if _is_tested(subject) and subject.run.control else None,
        source=source_of(subject),
        charts=charts(subject.run.history, subject.best_epoch, subject.model),
        pictures=pictures_of(directory, subject.shape, bool(subject.config.get("data.floats"))),
        measures=measures,
        hint=_hint(subject, measures) if finished else None,
        facts=_facts(subject),
        reproduction=_reproduction(subject),
        config=_config(subject),
    )


def _is_tested(subject: Subject) -> bool:
    return subject.status == "finished" and not subject.told.untested


def _title(subject: Subject) -> str:
    config, model = subject.config, subject.model
    arm = [config.get(f"transfer.{key}", usual) for key, usual in SCRATCH.items()]
    fresh = arm == [*SCRATCH.values()]
    if fresh and model.does("classify"):
        return f"{capitalised(model.title)} of {config.get('data.name')}, from scratch"
    if subject.told.stage == "pretrain":
        return f"Pretraining: {model.title} of {config.get('data.name')}"
    source = f" from {_source_words(config)}" if subject.run.control else ""
    return f"Transfer to {config.get('data.name')}{source}: {subject.told.arm}"


def capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def _source_words(config: dict[str, Any]) -> str:
    if "pretrain.data.name" not in config:
        return Path(str(config.get("pretrain.path"))).name
    return f"{config['pretrain.data.name']} ({config.get('pretrain.model.name')})"


def _lead(subject: Subject) -> str:
    config, told = subject.config, subject.told
    epochs, steps = subject.counts.get("epochs", config.get("trainer.max_epochs")), config.get("trainer.max_steps")
    labels = config.get("data.labels_per_class")
    parts = [
        *([f"{subject.counts['train']:,} training {noun_of(subject.shape)}"] if "train" in subject.counts else []),
        *([f"{labels} labels a class"] if labels is not None else []),
        f"{steps} steps" if epochs is None else "1 epoch" if epochs == 1 else f"{epochs} epochs",
        *([f"a code of {latent_dim} numbers"] if (latent_dim := config.get("encoder.latent_dim")) else []),
        f"seed {told.seed}",
    ]
    if told.stage == "pretrain":
        what = subject.model.summary
    else:
        what = f"{capitalised(subject.model.titled)} whose encoder {_arm(subject)}"
    took = f" It took {duration(told.timing.seconds)}." if told.timing.seconds else ""
    return f"{what}: {', '.join(parts)}.{took}"


def _arm(subject: Subject) -> str:
    config = subject.config
    if config.get("transfer._target_", ARM) != ARM:
        return subject.model.arm or f"is treated as the arm {subject.told.arm} says"
    weights, encoder = str(config.get("transfer.weights")), str(config.get("transfer.encoder"))
    return f"{STARTS.get(weights, weights)} and {TREATMENTS.get(encoder, encoder)}"


def _problem(subject: Subject) -> Problem:
    told, progress = subject.told, subject.told.progress
    where = "before its first step"
    if "epoch" in progress and "epochs" in progress:
        where = f"in epoch {progress['epoch']:g} of {progress['epochs']:g}"
    lines = last_lines(subject.directory.log, LOG_LINES)
    return Problem(
        status=STATUS.get(subject.status, subject.status),
        why=told.error or "",
        progress=f"It was last heard of {where}{f', at {told.heartbeat}' if told.heartbeat else ''}.",
        log=[str(without_secrets(line)) for line in lines],
        resume=again(subject.run.result),
    )


def _numbers(subject: Subject) -> TextTable | None:
    """One row a quantity: what it was on the test split and on validation, at the epoch that was kept."""
    metrics, model = subject.told.metrics, subject.model
    # What a search has left untested has those of validation alone.
    part = "test/" if any(name.startswith("test/") for name in metrics) else "val/"
    names = [name.removeprefix(part) for name in metrics if name.startswith(part)]
    names.sort(key=lambda name: model.compared is None or f"val/{name}" != model.compared.metric)
    rows = [
        [
            name,
            model.words(name) or OF_CALLBACKS.get(name, ""),
            *(_number(metrics.get(f"{part}/{name}")) for part in ("test", "val")),
        ]
        for name in names
    ]
    return TextTable(["metric", "what it is", "test", "val"], rows, 2) if rows else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _caveats(subject: Subject) -> list[str]:
    told = subject.told
    facts: dict[str, Any] = {"metrics": told.metrics, "counts": subject.counts, "untested": told.untested}
    facts["data"] = told.data.model_dump()
    if told.weights is not None:
        facts["weights"] = told.weights.model_dump()
    try:
        return caveats(subject.directory.read_config(), subject.model, facts)
    except (UserError, ArithmeticError, LookupError, ValueError):
        return ["Its config or its numbers are not those of this version, so what they must be read with is not said."]


def _comparison(subject: Subject) -> Comparison:
    control, name = control_of(subject), subject.run.control
    compared = subject.model.compared
    metric, remark = (compared.on("test").metric, compared.remark) if compared else ("its metric", "")
    mine = subject.told.metrics.get(metric)
    fold, folds = subject.run.fold, subject.run.folds
    if control is None or mine is None or metric not in control.tested:
        of = f"seed {subject.told.seed}{'' if fold is None else f' and fold {fold}'}"
        return Comparison(
            f"Its control, transfer={name} with {of}, had no test result in this store when this page was written. "
            f"Without it {metric} says nothing about what was carried:",
            None,
            of_control(subject.run.result, str(name), subject.config),
        )
    theirs = control.tested[metric]
    every = f"data.fold={','.join(map(str, range(folds)))}" if folds else "seed=0,1,2"
    one, sweep = ("fold", f"folds (-m {every})") if folds else ("pair of seeds", f"seeds (-m {every})")
    return Comparison(
        f"Its control, transfer={name} with the same seed{' and fold' if folds else ''}, reached {metric} "
        f"{theirs:.4f}: a difference of {mine - theirs:+.4f}{remark}. One {one} decides nothing; a sweep over {sweep} "
        "has a report with intervals.",
        control,
    )


def _hint(subject: Subject, measures: list[Measure]) -> str | None:
    """Return the command of the measure that would add what is missing most, None where it was taken."""
    taken = {measure.title.partition(" ")[0] for measure in measures}
    hints = {"classify": "classifier", "regress": "regression", "label": "labels"}
    others = "probes" if subject.told.data.classes else "reconstruction" if subject.model.does("reconstruct") else ""
    wanted = next((name for can, name in hints.items() if subject.model.does(can)), others or "representation")
    if wanted in taken:
        return None
    run = quoted(str(subject.directory.path))
    split = [] if subject.counts.get("test", 1) else ["split=val"]
    return command("evaluate", [f"run={run}", f"evaluation={wanted}", *split, *allowed(subject.run.result)])


def _facts(subject: Subject) -> list[tuple[str, str]]:
    told, counts = subject.told, subject.counts
    shares = [f"{part} {counts[part]:,}" for part in ("train", "val", "test") if part in counts]
    speed = told.timing.images_per_second
    parameters = counts.get("parameters")
    rows = {
        noun_of(subject.shape): ", ".join(shares),
        "data": " ".join([told.data.used, *told.data.notes]),
        "kept": f"epoch {subject.best_epoch:g}, the best on validation" if subject.best_epoch else "",
        "training": f"{duration(told.timing.train_seconds)}, {speed:,.0f} {noun_of(subject.shape)}/s" if speed else "",
        "processes": str(counts.get("processes", "")),
        "parameters": "" if parameters is None else f"{parameters:,}, {counts.get('trained_parameters', 0):,} trained",
        "started": str(subject.run.result.get("timing", {}).get("started", "")),
        "identity": str(subject.run.result.get("identity", "")),
    }
    return [(name, text) for name, text in rows.items() if text]


def _reproduction(subject: Subject) -> list[tuple[str, list[str]]]:
    headings = dict(reproduction([subject.run]))
    own = again(subject.run.result)
    headings["Commands"] = list(dict.fromkeys([own, *headings.get("Commands", [])]))
    return [(heading, [str(without_secrets(line)) for line in lines]) for heading, lines in headings.items()]


def _config(subject: Subject) -> str:
    return str(without_secrets(read_bytes(subject.directory.config).decode(errors="replace")))


# Writing a run's page, and doing so at the end of a run in a way that can spoil nothing.

log = logging.getLogger(__name__)


def write_run_page(directory: RunDirectory) -> Path:
    """Write report.html over an earlier one and return its path. Raises UserError for what is no run or damaged."""
    replace_file(directory.page, page_of(subject_at(directory)))
    return directory.page


def leave_page(directory: RunDirectory) -> None:
    """Write the page of a run whose result is written, and what was measured of it onto its card.

    What goes wrong with it is a warning: the run is what it is.
    """
    try:
        write_run_page(directory)
        write_on_card(directory)
    except Exception as error:
        # On a full disk the log finds no room either.
        with suppress(WriteError):
            log.warning(
                "The run's page can't be written (%s: %s); %s writes it again.",
                *(type(error).__name__, error, command("report", [f"run={directory.path}"])),
            )
