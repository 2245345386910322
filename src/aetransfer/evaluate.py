"""Measure a finished run again: python -m aetransfer.evaluate run=DIR [split=val|test] [data=NAME] [evaluation=NAME].

Without `evaluation` its own metrics, digit for digit; with it what configs/evaluation/NAME.yaml stands for.
"""

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.instantiate import check_allow, check_node
from aetransfer.config.schema import EvaluationRequest
from aetransfer.runs.directory import RunDirectory


def main() -> None:
    command_line.main("evaluate", check=_request, task=_evaluate, goes_on=False)


def _request(config: DictConfig, overrides: list[str]) -> EvaluationRequest:
    request = checked(config, EvaluationRequest)
    check_allow(request.allow, overrides)
    if request.data is not None:
        check_node(request.data.reader, "reader", request.allow, later=["split"])
    run = RunDirectory.existing(request.run)
    if request.evaluation is not None:
        request.evaluation.check_model(run.read_config().model.name)
    return request


def _evaluate(config: DictConfig, overrides: list[str]) -> None:
    # torch takes seconds to import, and a config error must not.
    from aetransfer.measuring import evaluate, measure

    request = _request(config, overrides)
    if request.evaluation is not None:
        measure(request)
        return
    for name, value in evaluate(request).items():
        print(f"{name:<20}{value!r}")


if __name__ == "__main__":
    main()
