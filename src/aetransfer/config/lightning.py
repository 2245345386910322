"""The settings of Lightning's Trainer that are no keys of `trainer`, and what does here what they do there."""

import re

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


def what_instead(key: str) -> str | None:
    """Say of a dotted key that is a setting of Lightning's Trainer what to use here; None for any other key."""
    found = re.fullmatch(r"(pretrain\.)?trainer\.(\w+)(\..*)?", key)
    if found is None or found[2] not in INSTEAD:
        return None
    return f"{key} is Lightning's, and no key here: {INSTEAD[found[2]]}"
