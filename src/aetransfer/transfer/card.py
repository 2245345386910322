"""What stands beside an exported encoder: `encoder.json` for programs, `MODEL_CARD.md` for people.

Both say what the encoder takes, where it comes from, its numbers, and what those numbers must be read with.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from aetransfer.config.schema import Job, Pretraining
from aetransfer.config.shapes import IMAGE, noun_of
from aetransfer.data.targets import Kind, Targets
from aetransfer.errors import UserError
from aetransfer.files import read_json, replace_file
from aetransfer.models.facts import ModelFacts
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import UNTESTED, code_version, is_finished, own_code
from aetransfer.store.identity import identity
from aetransfer.transfer.exported import Preprocessing

if TYPE_CHECKING:
    from aetransfer.networks.encoder import Encoder


# By the kind of its targets: what a model can do that predicts them, and what it then gives.
PREDICTED: dict[Kind, tuple[str, str]] = {
    "classes": ("classify", "probabilities of the classes, each row a softmax that sums to 1"),
    "values": ("regress", "values, in the units of the training targets"),
    "labels": ("label", "the probability of each label, a sigmoid"),
}


def write_cards(
    directory: RunDirectory,
    job: Job,
    encoder: "Encoder",
    model: ModelFacts,
    facts: dict[str, Any],
    targets: Targets,
    preprocessing: Preprocessing,
) -> None:
    """Write both, atomically.

    model: what the job's model says of itself. facts: of the run, as `caveats` takes them. targets: of its data.
    preprocessing: of its inputs.
    """
    noun = noun_of(encoder.input_shape)
    units = {"floats": True, "units": "the training data's: standardised by the encoder itself"}
    taken = {"range": [0, 1], **preprocessing.plain()} if encoder.takes_pixels else units | {"pad": preprocessing.pad}
    description = {
        "architecture": job.encoder.model_dump(mode="json", by_alias=True),
        "input": {"shape": list(encoder.input_shape), **taken},
        "normalisation": {
            "mean": encoder.normalise.mean.flatten().tolist(),
            "deviation": encoder.normalise.deviation.flatten().tolist(),
        },
        "latent_dim": encoder.latent_dim,
        "num_features": encoder.num_features,
        **({"untrained": model.untrained} if model.untrained else {}),
        "run": {
            "name": directory.path.name,
            "identity": identity(job),
            "stage": job.stage,
            "model": job.model.name,
            "arm": job.transfer.name if job.transfer else None,
            "control": job.transfer.control if job.transfer else None,
            "source": _source(job),
            **({"continued": facts["continued"]} if "continued" in facts else {}),
            "seed": job.seed,
            "code": code_version(),
            "own_code": own_code(job.allow),
        },
        "data": {
            "name": job.data.name,
            "digest": job.data.digest,
            noun: {part: facts["counts"][part] for part in ("train", "val", "test") if part in facts["counts"]},
            "labels_per_class": job.data.labels_per_class,
            "class_names": list(targets.names) if targets.kind == "classes" else [],
            **({} if targets.kind in ("classes", "none") else {"targets": asdict(targets)}),
        },
        "metrics": facts["metrics"],
        "caveats": caveats(job, model, facts),
    }
    replace_file(directory.encoder_card, json.dumps(description, indent=2) + "\n")
    words = {"noun": noun, "floats": not encoder.takes_pixels, "pad": preprocessing.pad}
    side = encoder.input_shape[-1]
    does, words["gives"] = PREDICTED.get(targets.kind, ("", ""))
    words |= {"predicts": bool(does) and model.does(does), "names": targets.names}
    words["allowed"] = f" 'allow=[{','.join(job.allow)}]'" if job.allow else ""
    words["reads_files"] = encoder.takes_pixels and encoder.input_shape in ((1, side, side), (3, side, side))
    replace_file(directory.model_card, _page(description | words, model, job.allow))


def read_targets(folder: Path) -> Targets | None:
    """Return what was to be learnt by a folder's encoder.json, None where it has none. Raises UserError if damaged."""
    path = RunDirectory(folder).encoder_card
    try:
        data = read_json(path)["data"]
        classes = {"kind": "classes" if data["class_names"] else "none", "names": data["class_names"]}
        kind, names = (data.get("targets", classes)[key] for key in ("kind", "names"))
        if kind not in get_args(Kind) or not isinstance(names, list):
            raise ValueError("data.targets or data.class_names is of another kind")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}): remove it.") from error
    return Targets(kind, tuple(str(name) for name in names))


def targets_predicted(directory: RunDirectory) -> Targets:
    """Return what a finished transfer predicts. Raises UserError for a run that can predict nothing."""
    run = directory.path
    if directory.read_config().stage != "transfer":
        raise UserError(f"{run} is a pretraining, which tells no classes apart: embed gives its features.")
    if not is_finished(directory):
        raise UserError(f"{run} has not finished: the command that began it goes on where it stopped.")
    if not directory.best.is_file():
        raise UserError(f"{directory.best} does not exist: nothing can be predicted without the run's weights.")
    targets = read_targets(run)
    if targets is None or not targets.names:
        raise UserError(f"{directory.encoder_card} does not exist: the run's classes have no names without it.")
    return targets


def _source(job: Job) -> str | None:
    if job.pretrain is None or (job.transfer is not None and not job.transfer.carries):
        return None
    if isinstance(job.pretrain, Pretraining):
        return f"{job.pretrain.model.name} on {job.pretrain.data.name}, seed {job.pretrain.seed}"
    return f"{Path(job.pretrain.path).name}, SHA-256 {job.pretrain.digest}..."


def caveats(job: Job, model: ModelFacts, facts: Mapping[str, Any]) -> list[str]:
    """Say what a run's numbers must be read with. facts: its `metrics`, `counts` and, of newer runs, `data`,
    and whether it is `untested`.
    """
    counts, metrics, data = facts["counts"], facts["metrics"], facts.get("data", {})
    noun = noun_of(job.data.input_shape or IMAGE)
    own = data.get("validation") == "own"
    drawn = "order and label subset" if own else f"order, validation {noun} and label subset"
    validated = (
        "of the data's own validation split, the same for every seed" if own else "cut out of the training split"
    )
    said = [
        f"One run (n = 1) of seed {job.seed}. Another seed changes first weights, {drawn}, and gives other numbers.",
        f"The epoch was chosen by {model.monitor or 'a metric'} on {'the ' if own else ''}{counts['val']:,} {noun} "
        f"{validated}; {_tested(facts, noun)}.",
        *_grouped(data.get("groups")),
        *data.get("notes", []),
        *([facts["weights"]["said"]] if "weights" in facts else []),
    ]
    limits = job.trainer.model_dump(include={"limit_train_batches", "limit_val_batches", "limit_test_batches"})
    if short := [f"trainer.{key}={value}" for key, value in limits.items() if value is not None]:
        said.append(f"Not all of these {noun} were used: {', '.join(short)}.")
    said += model.caveats
    if model.does("reconstruct") and job.data.pad and job.data.unpadded_shape:
        _, height, width = job.data.unpadded_shape
        said.append(f"Errors are those on the {height}x{width} image, without its padding.")
    if model.untrained:
        said.append(
            f"This model does not train the {' and the '.join(model.untrained)} of the encoder: its output is a random "
            "projection of the features."
        )
    if {"classify", "regress", "label"} & set(model.can or ()):
        said.append("The numbers are those of the encoder with its head. Only the run's checkpoint holds the head.")
        every = job.trainer.limit_test_batches is None and not data.get("groups")
        if every and (accuracy := metrics.get("test/acc")) is not None:
            error = sqrt(accuracy * (1 - accuracy) / counts["test"])
            said.append(f"The size of the test split alone makes test/acc uncertain by {error:.4f} (standard error).")
    if job.transfer is not None and job.transfer.control is not None:
        fold = "" if job.data.fold is None else " and fold"
        measured = model.compared.on("test").metric if model.compared else "a test metric"
        said.append(
            f"To see what the pretraining was worth, compare {measured} with that of the control: "
            f"transfer={job.transfer.control} with the same seed{fold}."
        )
    elif job.transfer is not None and not job.transfer.carries:
        said.append("This is a control: nothing was carried into its encoder.")
    return said


def _tested(facts: Mapping[str, Any], noun: str) -> str:
    if facts.get(UNTESTED):
        return "the test split was not used, because a search made this run: train with the same config tests it"
    if not (count := facts["counts"]["test"]):
        return f"there is no test split, so all numbers are of {noun} that chose the epoch"
    if within := facts.get("data", {}).get("tested_on"):
        return f"the {count:,} {noun} that were tested on, {within} of the training split, were used once, after that"
    return f"the {count:,} test {noun} were used once, after that"


def _grouped(groups: Mapping[str, Any] | None) -> list[str]:
    if not groups:
        return []
    counts = [f"{groups[part]:,} {part}" for part in ("train", "val", "test") if groups.get(part)]
    return [
        f"No group ({groups['called']}) is in two splits: {', '.join(counts)}. Examples of a group are alike, so the "
        "number of groups, not of examples, decides how certain a metric is."
    ]


def _page(description: dict[str, Any], model: ModelFacts, allow: list[str]) -> str:
    # Its hundred milliseconds are spent where a run ends, not where a command begins.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("aetransfer.transfer", ""), trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    template = environment.get_template("card.md.jinja")

    def numbers(values: list[float]) -> str:
        return ", ".join(f"{value:.4g}" for value in values)

    return template.render(**description, model=model, allow=allow, numbers=numbers).rstrip() + "\n"
