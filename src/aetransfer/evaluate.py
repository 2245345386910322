"""Measure a finished run again.

Usage: python -m aetransfer.evaluate run=DIR [KEY=VALUE ...]

Examples:
  python -m aetransfer.evaluate run=outputs/runs/NAME
  python -m aetransfer.evaluate run=outputs/runs/NAME evaluation=representation
  python -m aetransfer.evaluate run=outputs/runs/NAME data=cifar10 split=val

Without evaluation= it prints the same metrics as the training, bit for bit.
"""

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.instantiate import check_allow, check_needs, check_node, needs_of
from aetransfer.config.nodes import chosen
from aetransfer.config.schema import EvaluationRequest
from aetransfer.data.targets import check_mapped
from aetransfer.errors import UserError
from aetransfer.models.facts import ModelFacts
from aetransfer.store.directory import RunDirectory
from aetransfer.store.run import read
from aetransfer.training import logs
from aetransfer.transfer.card import read_targets


def main() -> None:
    command_line.main(command_line.Command("evaluate", __doc__, check=_request, task=_evaluate, goes_on=False))


def _request(config: DictConfig, overrides: list[str]) -> EvaluationRequest:
    request = checked(config, EvaluationRequest)
    check_allow(request.allow, overrides)
    if request.data is not None:
        check_node(request.data.reader, "reader", request.allow)
    run = RunDirectory.existing(request.run)
    job = run.read_config()
    model = read(run.path).model
    for name, node in chosen(request.evaluation).items():
        check_node(node, "measure", request.allow, place=f"evaluation.{name}")
        check_needs(name, needs_of(node, request.allow), model.can, model.title)
    for name, metric in request.metrics.items():
        if metric is not None:
            check_node(metric, "metric", request.allow, place=f"metrics.{name}")
    if request.metrics and job.head is None:
        raise UserError(f"metrics: {request.run} is {model.titled}, which learns no labels: leave it out.")
    if request.classes is not None:
        _check_classes(request, request.classes, run, model)
    return request


def _check_classes(request: EvaluationRequest, classes: dict[str, str], run: RunDirectory, model: ModelFacts) -> None:
    if model.can is not None and not model.does("classify"):
        raise UserError(f"classes: {request.run} is {model.titled}, which tells no classes apart: leave it out.")
    needed = [needs_of(node, request.allow) for node in chosen(request.evaluation).values()]
    if needed and not {"classify", None} & set(needed):
        raise UserError("classes: these measures read the data's own classes, not those of the run: leave it out.")
    targets = read_targets(run.path)
    if targets is None or targets.kind != "classes":
        raise UserError(f"classes: {request.run} does not say what its classes are called, so none can be named.")
    check_mapped(classes, targets.names)


def _evaluate(config: DictConfig, overrides: list[str]) -> None:
    # torch takes seconds to import, and a config error must not.
    logs.say_torch()
    from aetransfer.evaluation.evaluate import evaluate, measure

    request = _request(config, overrides)
    if chosen(request.evaluation):
        measure(request)
        return
    found = evaluate(request)
    width = max([20, *(len(name) + 1 for name in found)])
    for name, value in found.items():
        print(f"{name:<{width}}{value!r}")


if __name__ == "__main__":
    main()
