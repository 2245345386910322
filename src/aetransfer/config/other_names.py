"""What is written here in other words than elsewhere: in configs of earlier versions, and for Lightning's Trainer."""

import re
from typing import Any

# Each leads straight to today's name. Of the names that one thing has had, its first stands first.
OLD_NAMES = {
    "aetransfer.data.embedded.read_digits": "aetransfer.data.readers.embedded.read_digits",
    "aetransfer.data.embedded.read_photo_digits": "aetransfer.data.readers.embedded.read_photo_digits",
    "aetransfer.data.idx.read_mnist": "aetransfer.data.readers.idx.read_mnist",
    "aetransfer.data.idx.read_fashion_mnist": "aetransfer.data.readers.idx.read_fashion_mnist",
    "aetransfer.data.cifar.read_cifar10": "aetransfer.data.readers.cifar.read_cifar10",
    "aetransfer.data.cifar.read_cifar100": "aetransfer.data.readers.cifar.read_cifar100",
    "aetransfer.data.folder.read_folder": "aetransfer.data.readers.folder.read_folder",
    "aetransfer.data.readers.mnist1d.read_mnist1d": "aetransfer.data.readers.embedded.read_mnist1d",
    "aetransfer.data.readers.vectors.read_breast_cancer": "aetransfer.data.readers.embedded.read_breast_cancer",
    "aetransfer.data.readers.vectors.read_diabetes": "aetransfer.data.readers.embedded.read_diabetes",
    "aetransfer.evaluation.classification.Classification": "aetransfer.evaluation.predictions.Classification",
    "aetransfer.evaluation.labels.Labels": "aetransfer.evaluation.predictions.Labels",
    "aetransfer.evaluation.promise.Transferability": "aetransfer.evaluation.transferability.Transferability",
    "aetransfer.evaluation.regression.Regression": "aetransfer.evaluation.predictions.Regression",
    "aetransfer.loggers.ContinuedCSVLogger": "aetransfer.training.callbacks.curves.ContinuedCSVLogger",
    "aetransfer.models.schedules.cosine": "aetransfer.models.optimisation.cosine",
    "aetransfer.models.schedules.one_cycle": "aetransfer.models.optimisation.one_cycle",
    "aetransfer.callbacks.about.About": "aetransfer.training.callbacks.curves.About",
    "aetransfer.callbacks.class_report.ClassReport": "aetransfer.training.callbacks.targets.ClassReport",
    "aetransfer.callbacks.curves.Curves": "aetransfer.training.callbacks.curves.Curves",
    "aetransfer.callbacks.embeddings.Embeddings": "aetransfer.training.callbacks.embeddings.Embeddings",
    "aetransfer.callbacks.filters.FirstLayerFilters": "aetransfer.training.callbacks.images.FirstLayerFilters",
    "aetransfer.callbacks.images.PriorSamples": "aetransfer.training.callbacks.images.PriorSamples",
    "aetransfer.callbacks.images.ReconstructionGrid": "aetransfer.training.callbacks.images.ReconstructionGrid",
    "aetransfer.callbacks.latents.Interpolations": "aetransfer.training.callbacks.images.Interpolations",
    "aetransfer.callbacks.latents.Traversals": "aetransfer.training.callbacks.images.Traversals",
    "aetransfer.callbacks.mistakes.Mistakes": "aetransfer.training.callbacks.targets.Mistakes",
    "aetransfer.callbacks.probe.OnlineProbe": "aetransfer.training.callbacks.targets.OnlineProbe",
    "aetransfer.callbacks.scalars.StepScalars": "aetransfer.training.callbacks.curves.StepScalars",
}


# What a measure without `_target_` is: earlier versions wrote none.
MEASURES = {
    "probes": "aetransfer.evaluation.probes.Probes",
    "reconstruction": "aetransfer.evaluation.reconstruction.Reconstruction",
    "vae": "aetransfer.evaluation.variational.Variational",
    "fid": "aetransfer.evaluation.fid.Fid",
    "representation": "aetransfer.evaluation.representation.Representation",
    "transferability": "aetransfer.evaluation.transferability.Transferability",
    "classifier": "aetransfer.evaluation.predictions.Classification",
}
CROP, FLIP = "aetransfer.data.augmentation.Crop", "aetransfer.data.augmentation.Flip"


def todays(target: str) -> str:
    """Return what a thing of an earlier name is called today; any other name as it is."""
    return OLD_NAMES.get(target, target)


def oldest(target: str) -> str:
    """Return the name that a thing had first: a digest of it outlasts the moves of files."""
    return next((old for old, today in OLD_NAMES.items() if today == todays(target)), target)


def with_measures_targets(nodes: Any) -> Any:
    """Put in the `_target_` of a measure that an earlier version wrote without one."""
    if not isinstance(nodes, dict):
        return nodes
    return {
        name: {"_target_": MEASURES[name], **node} if name in MEASURES and isinstance(node, dict) else node
        for name, node in nodes.items()
    }


def todays_augment(node: Any) -> Any:
    """Write `{crop_padding: 4, flip: true}` as today's transforms by name; anything else stays as it is."""
    if not isinstance(node, dict) or ("crop_padding" not in node and not isinstance(node.get("flip"), bool)):
        return {} if node is None else node
    found = {"crop": node.get("crop"), "flip": node.get("flip"), **node}
    if "crop_padding" in node:
        padding = found.pop("crop_padding")
        found["crop"] = {"_target_": CROP, "padding": padding} if padding != 0 or padding is False else None
    if isinstance(found["flip"], bool):
        found["flip"] = {"_target_": FLIP} if found["flip"] else None
    return {name: found[name] for name in dict.fromkeys(["crop", "flip", *found])}


def oldest_augment(nodes: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """Write transforms as `{crop_padding: 4, flip: true}` where that says all of them."""
    said = {"crop_padding": 0, "flip": False}
    for node in nodes:
        match node:
            case {"_target_": target, **keys} if (
                target == CROP and not said["crop_padding"] and keys.keys() <= {"padding"}
            ):
                said["crop_padding"] = keys.get("padding", 4)
            case {"_target_": target, **keys} if target == FLIP and not said["flip"] and keys in ({}, {"share": 0.5}):
                said["flip"] = True
            case _:
                return nodes
    return said


def moved_augment(word: str) -> str | None:
    """Say of an override that set a key of `data.augment` how that is written now; None for any other."""
    key, _, value = word.lstrip("+~").partition("=")
    stage, found, name = key.rpartition("data.augment.")
    if not found or stage not in ("", "pretrain."):
        return None
    written = {
        "crop_padding": f"{stage}augment=crop_flip {stage}data.augment.crop.padding=4",
        "flip": f"{stage}augment=flip",
    }
    if name not in written or (name == "flip" and (value == "null" or value.startswith("{"))):
        return None
    left_out = f"{stage}data.augment.{name.removesuffix('_padding')}=null"
    return f"{key} has moved: write {written[name]}, or {left_out} to leave it out"


# What does here what a setting of Lightning's Trainer, that is no key of `trainer`, does there.
# By their names in Lightning 2, and those of Lightning 1 that are still asked for.
INSTEAD = {
    "fast_dev_run": "add debug=fast_dev_run",
    "overfit_batches": "add debug=overfit",
    "num_sanity_val_steps": "nothing is validated before training, and debug=fast_dev_run tries everything",
    "max_time": "the numbers would depend on the clock, so give trainer.max_steps; a job that is cut off goes on where "
    "it was",
    "logger": "choose logger=NAME, or logger=none",
    "callbacks": "choose callbacks=NAME, or callbacks=none",
    "enable_checkpointing": "the best and the last checkpoint are always kept",
    "default_root_dir": "set paths.output_dir",
    "enable_progress_bar": "set trainer.progress",
    "enable_model_summary": "result.json counts the parameters",
    "enable_autolog_hparams": "logger=none logs nothing",
    "model_registry": "a finished run is found by `python -m aetransfer.runs`",
    "barebones": "choose callbacks=none logger=none",
    "inference_mode": "evaluation never keeps gradients",
    "limit_predict_batches": "`python -m aetransfer.predict` takes the images that it is given",
    "plugins": "choose trainer.precision and trainer.strategy",
    "sync_batchnorm": "batches are normalised over the images of all processes wherever torch can do that",
    "use_distributed_sampler": "each process has its share of every batch",
    "reload_dataloaders_every_n_epochs": "order and augmentation are drawn anew in every epoch",
    "gpus": "choose trainer=gpu trainer.devices=N",
    "tpu_cores": "set trainer.accelerator=tpu trainer.devices=N",
    "num_processes": "choose trainer=ddp trainer.devices=N",
    "auto_lr_find": "sweep optimizer.lr, or search it with sweep=tune",
    "auto_scale_batch_size": "`python -m aetransfer.batch_size` finds the largest batch",
    "resume_from_checkpoint": "the same command goes on where a run was cut off",
    "ckpt_path": "the same command goes on where a run was cut off",
    "stochastic_weight_avg": "add pytorch_lightning.callbacks.StochasticWeightAveraging as a callback",
    "terminate_on_nan": "a training that diverges always stops",
    "track_grad_norm": "callbacks=default logs optimizer/gradient_norm",
}


# What things are called in other projects, with Hydra, Lightning or neither.
CALLED_ELSEWHERE = {
    **dict.fromkeys(("datamodule", "dataset"), "data"),
    **dict.fromkeys(("net", "network", "backbone", "model.net", "model.backbone", "model.encoder"), "encoder"),
    "optim": "optimizer",
    **dict.fromkeys(("lr_scheduler", "model.scheduler"), "scheduler"),
    **dict.fromkeys(("learning_rate", "model.lr", "optimizer.learning_rate"), "optimizer.lr"),
    **dict.fromkeys(("epochs", "num_epochs", "trainer.epochs", "trainer.num_epochs"), "trainer.max_epochs"),
    **dict.fromkeys(("device", "accelerator", "trainer.device"), "trainer.accelerator"),
    **dict.fromkeys(("gpus", "devices"), "trainer.devices"),
    **dict.fromkeys(("num_workers", "data.num_workers"), "data.workers"),
}
CHOSEN = ("optimizer", "scheduler", "encoder", "head", "callbacks", "logger")


def what_instead(key: str) -> str | None:
    """Say of a dotted key that belongs to Lightning's Trainer or to other projects what to use; None for any other."""
    stage = "pretrain." if key.startswith("pretrain.") else ""
    name = key.removeprefix(stage)
    if name in CALLED_ELSEWHERE:
        here = f"{stage}{CALLED_ELSEWHERE[name]}"
        return f"{key} is called {here} here: write {here}={'VALUE' if '.' in CALLED_ELSEWHERE[name] else 'NAME'}"
    if name.removesuffix(".name") in CHOSEN:
        group = name.removesuffix(".name")
        return f"{key} is no config key: {group}=NAME chooses one, {group}._target_ a class of any package"
    if name in ("train", "test", "ckpt_path"):
        return f"{key} is no config key: {INSTEAD['ckpt_path']}, and each run is tested once, when it is trained"
    found = re.fullmatch(r"trainer\.(\w+)(\..*)?", name)
    if found is None or found[1] not in INSTEAD:
        return None
    return f"{key} is Lightning's, and no key here: {INSTEAD[found[1]]}"


# Runs of the version before: their configs as today's, and the facts of their models, which they wrote nowhere.

LOWER, HIGHER = "lower", "higher"
RECONSTRUCTED = "How well images are reconstructed does not say how well the codes tell classes apart."
LEARNT_IMAGES = "An encoder and a decoder that learnt to reconstruct images"
_MODELS = {
    "ae": "aetransfer.models.autoencoder.AutoEncoder",
    "vae": "aetransfer.models.vae.VAE",
    "classifier": "aetransfer.models.classifier.Classifier",
}
_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"_target_": "torch.optim.Adam"},
    "adamw": {"_target_": "torch.optim.AdamW"},
    "sgd": {"_target_": "torch.optim.SGD", "momentum": 0.9, "nesterov": True},
}
_SCHEDULERS = {
    "cosine": {"_target_": "aetransfer.models.optimisation.cosine", "interval": "step"},
    "one_cycle": {"_target_": "aetransfer.models.optimisation.one_cycle", "interval": "step"},
}


def todays_config(config: Any) -> Any:
    """Return a run's config as this version writes it; what is none of an earlier one stays as it is."""
    if isinstance(config, dict):
        config = {key: todays_config(value) if key == "pretrain" else value for key, value in config.items()}
        if isinstance(data := config.get("data"), dict) and "augment" in data:
            config["data"] = {**data, "augment": todays_augment(data["augment"])}
    match config:
        case {"model": {"name": str(name), "optimizer": dict(written), **settings}, **rest} if name in _MODELS:
            optimizer = dict(written)
            kind, schedule = optimizer.pop("name", None), optimizer.pop("schedule", None)
            return {
                **rest,
                "model": {"_target_": _MODELS[name], "name": name, **settings},
                "optimizer": {**_OPTIMIZERS.get(str(kind), {}), **optimizer},
                "scheduler": _SCHEDULERS.get(str(schedule)),
            }
    return config


def earlier_facts(model: Any) -> dict[str, Any] | None:
    """Return what `ModelFacts` takes for the `model` of such a config, also as `todays_config` gives it; else None.

    Anybody may have written it. Where a VAE trains for another bound than the ELBO, that bound has chosen its epoch.
    """
    if not isinstance(model, dict):
        return None
    names = {target: name for name, target in _MODELS.items()}
    match names.get(str(model["_target_"])) if "_target_" in model else model.get("name"):
        case "ae":
            return {
                "name": "ae",
                "title": "autoencoder",
                "summary": LEARNT_IMAGES,
                "can": ["reconstruct", "decode"],
                "monitor": "val/mse",
                "metrics": {"mse": _quantity("mean squared error a pixel, of images in [0, 1]", LOWER)},
                "caveats": [RECONSTRUCTED],
            }
        case "vae":
            likelihood = str(model.get("likelihood", "bernoulli"))[:40]
            seen = "of freshly binarised images" if likelihood == "bernoulli" else "of grey values"
            trains_elbo = model.get("kl_weight", 1) == 1 and model.get("free_bits", 0) == 0
            return {
                "name": "vae",
                "title": "variational autoencoder",
                "summary": LEARNT_IMAGES,
                "can": ["reconstruct", "decode", "sample", "posterior"],
                "monitor": "val/neg_elbo" if trains_elbo else "val/loss",
                "metrics": {
                    "neg_elbo": _quantity("-ELBO, nats an image: distortion + rate", LOWER),
                    "distortion": _quantity("distortion, nats an image", LOWER),
                    "rate": _quantity("rate: KL to the prior, nats an image"),
                    "active_units": _quantity("latent units whose mean varies over the data"),
                },
                "caveats": [
                    RECONSTRUCTED,
                    f"Nats are {seen} under a {likelihood} likelihood, with one sample an image.",
                ],
            }
        case "classifier":
            return {
                "name": "classifier",
                "title": "classifier",
                "summary": "An encoder and a head that learnt to tell classes apart",
                "can": ["classify"],
                "monitor": "val/acc",
                "monitor_mode": "max",
                "metrics": {
                    "acc": _quantity("accuracy, the share that is classified rightly", HIGHER),
                    "f1": _quantity("F1, averaged over the classes", HIGHER),
                    "nll": _quantity("cross-entropy, nats an example", LOWER),
                    "ece": _quantity("expected calibration error, 15 bins", LOWER),
                },
            }
    return None


def _quantity(words: str, better: str | None = None) -> dict[str, str | None]:
    return {"words": words, "better": better}
