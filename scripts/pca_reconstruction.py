"""What PCA makes of MNIST with as many components as a bottleneck has units: the figure an autoencoder must beat.

python scripts/pca_reconstruction.py DATA_DIR [COMPONENTS ...]
"""

import sys

from sklearn.decomposition import PCA

from aetransfer.data.readers.idx import read_mnist


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} DATA_DIR [COMPONENTS ...]")
    train, test = (read_mnist(sys.argv[1], split).inputs.flatten(1).numpy() / 255 for split in ("train", "test"))
    for components in map(int, sys.argv[2:] or ["128"]):
        pca = PCA(components, svd_solver="covariance_eigh").fit(train)
        error = ((pca.inverse_transform(pca.transform(test)) - test) ** 2).mean()
        print(f"{components:>4} components: test MSE {error:.4f}")


if __name__ == "__main__":
    main()
