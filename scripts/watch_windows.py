"""The watch's recordings cut into windows, without whose they are: what a split by windows is made from.

    python scripts/watch_windows.py WATCH.npz OUT.npz

It is the mistake that `data.groups` keeps one from: windows of one recording overlap, and a window-wise split has such
in training and in test.
"""

import sys

import numpy as np

WINDOW, STRIDE, SIDE = 200, 100, 0


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} WATCH.npz OUT.npz")
    watch = np.load(sys.argv[1])
    ends = watch["lengths"].cumsum()
    windows, classes = [], []
    for end, length, exercise, side in zip(ends, watch["lengths"], watch["exercise"], watch["side"], strict=True):
        begins = range(end - length, end - WINDOW + 1, STRIDE) if side == SIDE else ()
        windows += [watch["signals"][begin : begin + WINDOW].T for begin in begins]
        classes += [exercise] * len(begins)
    np.savez(sys.argv[2], inputs=np.stack(windows), targets=np.array(classes), targets_names=watch["exercise_names"])


if __name__ == "__main__":
    main()
