"""Runs of the version before: their configs as today's, and the facts of their models, which they wrote nowhere."""

from typing import Any

from aetransfer.config.other_names import todays_augment

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


def facts(model: Any) -> dict[str, Any] | None:
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
