"""What a sweep costs on top of its jobs: 12 short ones in one launch against the time they train plus one start-up.

    python benchmarks/sweep.py

A job's time is `timing.seconds` of its result.json: from its first line to its last, training, validation and test. The
start-up is what a command takes that finds its run finished: imports, config, looking it up. Everything else that the
launch takes is the sweep's: composing and checking each job, looking for finished runs, the table and the report.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEEDS = range(12)
JOB = ["experiment=quickstart", "transfer=scratch", "trainer=cpu"]


def launch(output_dir: Path, *words: str) -> float:
    """Run the command and return its seconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "aetransfer.train", *JOB, *words],
        env={**os.environ, "AETRANSFER_OUTPUT_DIR": str(output_dir), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = launch(Path(folder), "-m", f"seed={','.join(map(str, SEEDS))}")
        start_up = launch(Path(folder), f"seed={SEEDS[0]}")
        results = [json.loads(path.read_text()) for path in Path(folder).glob("runs/*/result.json")]
    assert len(results) == len(SEEDS), results
    jobs = sum(result["timing"]["seconds"] for result in results)
    print(
        f"{len(SEEDS)} jobs in one launch {whole:.1f} s; their own time {jobs:.1f} s + one start-up {start_up:.1f} s: "
        f"ratio {whole / (jobs + start_up):.3f}"
    )


if __name__ == "__main__":
    main()
