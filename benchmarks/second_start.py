"""Seconds until a run has its name, its images and their statistics: at a start, and at the next one.

The first start decodes the images and takes their checksums, the next one finds both.

    python benchmarks/second_start.py cifar10

Importing torch comes on top. The processor's seconds are those of this process alone, whatever runs beside it.
"""

import sys
import time

from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Job
from aetransfer.store.identity import identified
from aetransfer.training.build import make_data
from aetransfer.transfer.resolve import resolve


def start(job: Job) -> tuple[float, float]:
    """Do what a run does before it trains; return the seconds it took, and those of the processor."""
    began, used = time.perf_counter(), time.process_time()
    identified(job, again=True)
    module = make_data(job.data, seed=0, allow=[])
    module.setup("fit")
    module.statistics()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    words = [f"data={sys.argv[1]}", "model=ae"]
    job = resolve(checked(composed("train", words), Job), words)
    for which in ("a start", "the next"):
        print("{}: {:.2f} s, {:.2f} s of the processor".format(which, *start(job)))


if __name__ == "__main__":
    main()
