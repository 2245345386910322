"""What scikit-learn's own models make of the data of finished runs: the figures that a network must beat.

    python scripts/classical.py RUN [RUN ...]

Each is fitted on a run's own training examples; its one setting is chosen on the run's validation examples, and it is
tested once on the run's test examples. Of values: ridge regression and partial least squares. Of classes: logistic
regression of standardised inputs, and of their principal components, which all inputs of the run's source give where it
names one, without their targets. Means and standard deviations are over the runs.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aetransfer.config.schema import Job, Pretraining
from aetransfer.data.module import DataModule, Part
from aetransfer.store.directory import RunDirectory
from aetransfer.training.build import make_data

Arrays = tuple[np.ndarray, np.ndarray]
DEVICE = torch.device("cpu")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} RUN [RUN ...]")
    found: dict[str, list[float]] = defaultdict(list)
    for path in sys.argv[1:]:
        for name, value in _measured(RunDirectory.existing(path).read_config()):
            found[name].append(value)
    for name, values in found.items():
        deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
        print(f"{name:<28}{np.mean(values):.4g} ± {deviation:.2g}, n = {len(values)}")


def _measured(job: Job) -> Iterator[tuple[str, float]]:
    data = make_data(job.data, job.seed, job.allow, job.stage)
    data.setup("fit")
    data.setup("test")
    train, val, (inputs, targets) = (_arrays(data, part) for part in ("train", "val", "test"))
    if data.targets.kind == "values":
        for name, model in (("ridge", _ridge(train, val)), ("partial least squares", _pls(train, val))):
            predicted = model.predict(inputs).reshape(targets.shape)
            yield f"{name}: MAE", float(mean_absolute_error(targets, predicted))
            yield f"{name}: RMSE", float(root_mean_squared_error(targets, predicted))
            yield f"{name}: R²", float(r2_score(targets, predicted))
        return
    yield "logistic: accuracy", float(accuracy_score(targets, _logistic(train, val).predict(inputs)))
    unlabelled = train[0]
    if isinstance(job.pretrain, Pretraining) and job.pretrain.data.input_shape == data.shape:
        source = make_data(job.pretrain.data, job.pretrain.seed, job.allow, "pretrain")
        source.setup("fit")
        unlabelled = _arrays(source, "train")[0]
    components = min(job.encoder.latent_dim or 128, *unlabelled.shape)
    reduced = make_pipeline(StandardScaler(), PCA(components)).fit(unlabelled)
    codes = [(reduced.transform(part[0]), part[1]) for part in (train, val)]
    model = _logistic(codes[0], codes[1], scaler="passthrough")
    yield "PCA + logistic: accuracy", float(accuracy_score(targets, model.predict(reduced.transform(inputs))))


def _arrays(data: DataModule, part: Part) -> Arrays:
    batches = [(inputs.flatten(1).numpy(), targets.numpy()) for inputs, targets in data.in_order(part, 1024, DEVICE)]
    inputs, targets = zip(*batches, strict=True)
    return np.concatenate(inputs), np.concatenate(targets)


def _ridge(train: Arrays, val: Arrays) -> Any:
    models = [make_pipeline(StandardScaler(), Ridge(alpha)).fit(*train) for alpha in 10.0 ** np.arange(-6, 5)]
    return min(models, key=lambda model: root_mean_squared_error(val[1], model.predict(val[0])))


def _pls(train: Arrays, val: Arrays) -> Any:
    most = min(30, len(train[0]) - 1, train[0].shape[1])
    models = [make_pipeline(StandardScaler(), PLSRegression(count)).fit(*train) for count in range(1, most + 1)]
    return min(models, key=lambda model: root_mean_squared_error(val[1], model.predict(val[0]).reshape(val[1].shape)))


def _logistic(train: Arrays, val: Arrays, scaler: Any = None) -> Any:
    penalties = 10.0 ** np.arange(-4, 3)
    models = [
        make_pipeline(scaler or StandardScaler(), LogisticRegression(C=c, max_iter=5000)).fit(*train) for c in penalties
    ]
    return max(models, key=lambda model: model.score(*val))


if __name__ == "__main__":
    main()
