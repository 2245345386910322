"""The largest batch that fits in memory: python -m aetransfer.batch_size [the overrides of aetransfer.train].

It only says so. A batch size that a machine chose by itself would make the same command another experiment there.
"""

import sys

from omegaconf import DictConfig

from aetransfer import command_line
from aetransfer.config.compose import checked
from aetransfer.config.schema import Job
from aetransfer.transfer.resolve import resolve

LARGEST = 8192


def main() -> None:
    if {"-m", "--multirun"} & set(sys.argv):
        sys.exit("error: batch_size takes one job, not a sweep (-m).")
    command_line.main(command_line.Command("train", check=_job, task=_find, goes_on=False))


def _job(config: DictConfig, overrides: list[str]) -> Job:
    return resolve(checked(config, Job), overrides)


def _find(config: DictConfig, overrides: list[str]) -> None:
    # torch takes seconds to import, and a config error must not.
    from aetransfer.training.largest_batch import largest_batch

    size = largest_batch(_job(config, overrides), LARGEST)
    print(f"The largest batch that fits, of those tried by doubling: data.batch_size={size}")


if __name__ == "__main__":
    main()
