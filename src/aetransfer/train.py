"""Train one job, a pretraining or a transfer: python -m aetransfer.train [overrides], -m for a sweep."""

from pathlib import Path

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.schema import Job
from aetransfer.transfer.settle import settle


def main() -> None:
    command_line.main("train", check=_job, task=_train)


def _job(config: DictConfig, overrides: list[str]) -> Job:
    return settle(checked(config, Job), overrides)


def _train(config: DictConfig, overrides: list[str]) -> Path:
    # torch takes seconds to import, and a config error must not.
    from aetransfer.stages import run

    done = run(_job(config, overrides), overrides)
    for name, value in done.result["metrics"].items():
        print(f"{name:<20}{value:.6g}")
    print(f"run: {done.directory.path}")
    return done.directory.path


if __name__ == "__main__":
    main()
