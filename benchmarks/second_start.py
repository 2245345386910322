"""Seconds until a run has its images and their statistics: at a start, and at the next one, which finds its cache.

    python benchmarks/second_start.py cifar10

Importing torch comes on top. The processor's seconds are those of this process alone, whatever runs beside it.
"""

import sys
import time

from aetransfer.assemble import make_data
from aetransfer.config.compose import checked, composed
from aetransfer.config.schema import Data, Job


def start(data: Data) -> tuple[float, float]:
    """Do what a run does before it trains; return the seconds it took, and those of the processor."""
    began, used = time.perf_counter(), time.process_time()
    module = make_data(data, seed=0, allow=[])
    module.setup("fit")
    module.pixel_statistics()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    data = checked(composed("train", [f"data={sys.argv[1]}", "model=ae"]), Job).data
    for which in ("a start", "the next"):
        print("{}: {:.2f} s, {:.2f} s of the processor".format(which, *start(data)))


if __name__ == "__main__":
    main()
