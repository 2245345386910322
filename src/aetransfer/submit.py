"""Queue a sweep on a Slurm cluster and return at once: python -m aetransfer.submit [overrides].

Takes what python -m aetransfer.train -m takes, with launcher=slurm unless a profile built on it is chosen.
"""

from aetransfer import train


def main() -> None:
    train.main(submit=True)


if __name__ == "__main__":
    main()
