"""What a transfer predicts: python -m aetransfer.predict run=DIR images=FOLDER out=predictions.csv.

Or inputs=FILE (.npy, .npz), or data=NAME split=test. Exits with 0, with 1 where nothing was written, with 2 where some
could not be read and the others were written.
"""

import logging

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.requests import PredictRequest
from aetransfer.data.targets import Targets, listed
from aetransfer.errors import UserError
from aetransfer.inference.request import check_size, checked_request, described_at
from aetransfer.store.directory import RunDirectory
from aetransfer.store.finished import is_finished
from aetransfer.transfer.card import read_targets

log = logging.getLogger(__name__)


def main() -> None:
    command_line.main(command_line.Command("predict", check=_request, task=_predict, goes_on=False))


def _request(config: DictConfig, overrides: list[str]) -> PredictRequest:
    request = checked_request(config, overrides, PredictRequest)
    directory = RunDirectory.existing(request.run)
    job = directory.read_config()
    if job.stage != "transfer":
        raise UserError(f"{request.run} is a pretraining, which tells no classes apart: embed gives its features.")
    if not is_finished(directory):
        raise UserError(f"{request.run} has not finished: the command that began it goes on where it stopped.")
    if not directory.best.is_file():
        raise UserError(f"{directory.best} does not exist: nothing can be predicted without the run's weights.")
    _targets(directory)
    check_size(request, described_at(request.run, request.allow))
    return request


def _targets(directory: RunDirectory) -> Targets:
    targets = read_targets(directory.path)
    if targets is None or not targets.names:
        raise UserError(f"{directory.encoder_card} does not exist: the run's classes have no names without it.")
    return targets


def _say_where_names_differ(data: str, labels: set[str], classes: list[str]) -> None:
    """Keep labels of other names than the run's classes from being compared with what is predicted."""
    if unknown := sorted(labels - set(classes)):
        log.warning(
            "The labels are the classes of %s. %s: the run has no such class, it predicts %s.",
            data,
            listed(unknown),
            listed(classes),
        )


def _predict(config: DictConfig, overrides: list[str]) -> None:
    request = _request(config, overrides)
    # torch takes seconds to import, and a config error must not.
    import numpy as np

    from aetransfer.inference.apply import Predictions, apply, finish, memory_for, to_device
    from aetransfer.inference.table import Table

    directory = RunDirectory.existing(request.run)
    targets = _targets(directory)
    with memory_for(request):
        network = Predictions.of(directory, targets, request.allow)
        to_device(network, request.accelerator)
        applied = apply(request, network.encoder, network)
        leading, block, prefix = dict(applied.leading), "probabilities", "p"
        match targets.kind:
            case "classes":
                classes = np.array(targets.names)
                if request.data is not None and "label" in leading:
                    _say_where_names_differ(request.data.name, set(leading["label"].tolist()), classes.tolist())
                # Of NaN the largest is the first class.
                spoilt = np.isnan(applied.values).any(1)
                leading["predicted"] = np.where(spoilt, "", classes[applied.values.argmax(1)])
                leading["probability"] = applied.values.max(1)
            case "values":
                block, prefix = "values", "predicted"
        columns = [f"{prefix}_{name}" for name in targets.names]
        Table(leading, block, applied.values, columns).write(request.out)
    finish(request, applied)


if __name__ == "__main__":
    main()
