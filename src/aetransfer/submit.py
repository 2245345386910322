"""Queue a sweep on a Slurm cluster. It takes the same words as train -m.

Usage: python -m aetransfer.submit [KEY=VALUE ...]

Examples:
  python -m aetransfer.submit experiment=quickstart seed=0,1,2
  python -m aetransfer.submit seed=0,1 hydra.launcher.partition=gpu
  python -m aetransfer.submit --config-dir lab experiment=mine launcher=lab

It uses launcher=slurm, unless you choose a launcher file that builds on it.
"""

from aetransfer import command_line, train


def main() -> None:
    command_line.main(train.command(__doc__), submit=True)


if __name__ == "__main__":
    main()
