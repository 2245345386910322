"""What a run's page says, in sentences and tables."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from aetransfer.config.commands import again, allowed, command, of_control, quoted
from aetransfer.config.schema import ARM
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
    best_epoch,
    charts,
    control_of,
    measures_of,
    relative,
    run_at,
    source_of,
    write_on_card,
)
from aetransfer.report.sweep import reproduction
from aetransfer.report.tables import TextTable
from aetransfer.store.directory import RunDirectory
from aetransfer.store.run import StoredRun
from aetransfer.transfer.card import caveats

log = logging.getLogger(__name__)

LOG_LINES = 25
SCRATCH = {"_target_": ARM, "weights": "fresh", "encoder": "trained"}


def page_of(run: StoredRun) -> str:
    """Write the page of a run in whatever state it is."""
    finished, measures, best = run.status == "finished", measures_of(run.directory), best_epoch(run)
    return filled(
        "run.html.jinja",
        name=run.name,
        title=_title(run),
        status=STATUS.get(run.status, run.status),
        lead=_lead(run),
        problem=None if finished else _problem(run),
        numbers=_numbers(run),
        caveats=_caveats(run) if finished else [],
        comparison=_comparison(run) if finished and not run.facts.untested and run.control else None,
        source=source_of(run),
        charts=charts(run.history, best, run.model),
        pictures=pictures_of(run),
        measures=measures,
        hint=_hint(run, measures) if finished else None,
        facts=_facts(run, best),
        reproduction=_reproduction(run),
        config=str(without_secrets(read_bytes(run.directory.config).decode(errors="replace"))),
    )


def _title(run: StoredRun) -> str:
    settings, model = run.settings, run.model
    arm = [settings.get(f"transfer.{key}", usual) for key, usual in SCRATCH.items()]
    fresh = arm == [*SCRATCH.values()]
    if fresh and model.does("classify"):
        return f"{capitalised(model.title)} of {settings.get('data.name')}, from scratch"
    if run.stage == "pretrain":
        return f"Pretraining: {model.title} of {settings.get('data.name')}"
    source = f" from {_source_words(settings)}" if run.control else ""
    return f"Transfer to {settings.get('data.name')}{source}: {run.facts.arm}"


def capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def _source_words(settings: dict[str, Any]) -> str:
    if "pretrain.data.name" not in settings:
        return Path(str(settings.get("pretrain.path"))).name
    return f"{settings['pretrain.data.name']} ({settings.get('pretrain.model.name')})"


def _lead(run: StoredRun) -> str:
    settings, told = run.settings, run.facts
    epochs, steps = run.counts.get("epochs", settings.get("trainer.max_epochs")), settings.get("trainer.max_steps")
    labels = settings.get("data.labels_per_class")
    parts = [
        *([f"{run.counts['train']:,} training {run.noun}"] if "train" in run.counts else []),
        *([f"{labels} labels a class"] if labels is not None else []),
        f"{steps} steps" if epochs is None else "1 epoch" if epochs == 1 else f"{epochs} epochs",
        *([f"a code of {latent_dim} numbers"] if (latent_dim := settings.get("encoder.latent_dim")) else []),
        f"seed {told.seed}",
    ]
    if told.stage == "pretrain":
        what = run.model.summary
    else:
        what = f"{capitalised(run.model.titled)} whose encoder {_arm(run)}"
    took = f" It took {duration(told.timing.seconds)}." if told.timing.seconds else ""
    return f"{what}: {', '.join(parts)}.{took}"


def _arm(run: StoredRun) -> str:
    settings = run.settings
    if settings.get("transfer._target_", ARM) != ARM:
        return run.model.arm or f"is treated as the arm {run.facts.arm} says"
    weights, encoder = str(settings.get("transfer.weights")), str(settings.get("transfer.encoder"))
    return f"{STARTS.get(weights, weights)} and {TREATMENTS.get(encoder, encoder)}"


def _problem(run: StoredRun) -> dict[str, Any]:
    """Say why a run has not finished, and what to do. resume: the command that goes on."""
    told, progress = run.facts, run.facts.progress
    where = "before its first step"
    if "epoch" in progress and "epochs" in progress:
        where = f"in epoch {progress['epoch']:g} of {progress['epochs']:g}"
    return {
        "status": STATUS.get(run.status, run.status),
        "why": told.error,
        "progress": f"The last sign of it was {where}{f', at {told.heartbeat}' if told.heartbeat else ''}.",
        "log": without_secrets(last_lines(run.directory.log, LOG_LINES)),
        "resume": again(run.result),
    }


def _numbers(run: StoredRun) -> TextTable | None:
    """One row a quantity: what it was on the test split and on validation, at the epoch that was kept."""
    metrics, model = run.facts.metrics, run.model
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


def _caveats(run: StoredRun) -> list[str]:
    told = run.facts
    facts: dict[str, Any] = {"metrics": told.metrics, "counts": run.counts, "untested": told.untested}
    facts["data"] = told.data.model_dump()
    if told.weights is not None:
        facts["weights"] = told.weights.model_dump()
    try:
        return caveats(run.directory.read_config(), run.model, facts)
    except (UserError, ArithmeticError, LookupError, ValueError):
        return ["Its config or its numbers are of another version, so this page can't say what limits the numbers."]


def _comparison(run: StoredRun) -> dict[str, Any]:
    """Say how a transfer stands to its control; with the command that makes it, where there is none in the store."""
    control, name = control_of(run), run.control
    compared = run.model.compared
    metric, remark = (compared.on("test").metric, compared.remark) if compared else ("its metric", "")
    mine = run.facts.metrics.get(metric)
    fold, folds = run.fold, run.folds
    if control is None or mine is None or metric not in control.tested:
        of = f"seed {run.seed}{'' if fold is None else f' and fold {fold}'}"
        return {
            "sentence": f"Its control, transfer={name} with {of}, had no test result in this store when this page was "
            f"written. Without it {metric} does not show whether the pretraining helped. This command makes it:",
            "control": None,
            "command": of_control(run.result, str(name), run.settings),
        }
    theirs = control.tested[metric]
    every = f"data.fold={','.join(map(str, range(folds)))}" if folds else "seed=0,1,2"
    one, sweep = ("fold", f"folds (-m {every})") if folds else ("pair of seeds", f"seeds (-m {every})")
    return {
        "sentence": f"Its control, transfer={name} with the same seed{' and fold' if folds else ''}, reached {metric} "
        f"{theirs:.4f}: a difference of {mine - theirs:+.4f}{remark}. One {one} is not enough to decide; a sweep over "
        f"{sweep} gives a report with intervals.",
        "control": relative(control, run),
    }


def _hint(run: StoredRun, measures: list[Measure]) -> str | None:
    """Return the command of the measure that would add what is missing most, None where it was taken."""
    taken = {measure.title.partition(" ")[0] for measure in measures}
    hints = {"classify": "classifier", "regress": "regression", "label": "labels"}
    others = "probes" if run.facts.data.classes else "reconstruction" if run.model.does("reconstruct") else ""
    wanted = next((name for can, name in hints.items() if run.model.does(can)), others or "representation")
    if wanted in taken:
        return None
    split = [] if run.counts.get("test", 1) else ["split=val"]
    return command("evaluate", [f"run={quoted(str(run.path))}", f"evaluation={wanted}", *split, *allowed(run.result)])


def _facts(run: StoredRun, best: float | None) -> list[tuple[str, str]]:
    told, counts = run.facts, run.counts
    shares = [f"{part} {counts[part]:,}" for part in ("train", "val", "test") if part in counts]
    speed = told.timing.images_per_second
    parameters = counts.get("parameters")
    rows = {
        run.noun: ", ".join(shares),
        "data": " ".join([told.data.used, *told.data.notes]),
        "kept": f"epoch {best:g}, the best on validation" if best else "",
        "training": f"{duration(told.timing.train_seconds or 0)}, {speed:,.0f} {run.noun}/s" if speed else "",
        "processes": str(counts.get("processes", "")),
        "parameters": "" if parameters is None else f"{parameters:,}, {counts.get('trained_parameters', 0):,} trained",
        "started": str(run.result.get("timing", {}).get("started", "")),
        "identity": str(run.result.get("identity", "")),
    }
    return [(name, text) for name, text in rows.items() if text]


def _reproduction(run: StoredRun) -> list[tuple[str, list[str]]]:
    headings = dict(reproduction([run]))
    headings["Commands"] = list(dict.fromkeys([again(run.result), *headings.get("Commands", [])]))
    return list(headings.items())


# Writing a run's page, and doing so at the end of a run in a way that can spoil nothing.


def write_run_page(directory: RunDirectory) -> Path:
    """Write report.html over an earlier one and return its path. Raises UserError for what is no run or damaged."""
    replace_file(directory.page, page_of(run_at(directory)))
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
