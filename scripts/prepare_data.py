"""Download, verify and decode data sets ahead of time, for machines whose compute nodes have no network.

python scripts/prepare_data.py mnist cifar10
"""

import sys

from aetransfer.config.compose import checked, composed
from aetransfer.config.environment import load_environment
from aetransfer.config.schema import Job
from aetransfer.config.sentences import COMPLAINTS, sentence
from aetransfer.errors import UserError
from aetransfer.training import logs
from aetransfer.training.build import make_data


def prepare(name: str) -> None:
    """Open both splits of a data set as a run would, which downloads and decodes what isn't there yet."""
    job = checked(composed("train", [f"data={name}", "model=ae"]), Job)
    data = make_data(job.data, job.seed, job.allow)
    data.setup("fit")
    data.setup("test")
    train, test = data.count("train") + data.count("val"), data.count("test")
    print(f"{name}: {train} training and {test} test images, {len(data.class_names)} classes")


def main() -> None:
    logs.to_terminal()
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} NAME [NAME ...]")
    try:
        load_environment()
        for name in sys.argv[1:]:
            prepare(name)
    except UserError as error:
        sys.exit(f"error: {error}")
    except COMPLAINTS as error:
        sys.exit("error: " + sentence(error, "train"))


if __name__ == "__main__":
    main()
