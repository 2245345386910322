"""What a run's page says in words: of models and arms in its first sentence, of metrics beside their numbers."""

MODELS = {"ae": "autoencoder", "vae": "variational autoencoder", "classifier": "classifier"}
STARTS = {
    "fresh": "starts fresh",
    "pretrained": "is the pretrained one",
    "shuffled": "is the pretrained one, permuted within each tensor",
    "moments": "is drawn anew with the pretrained one's means and variances",
    "transplanted": "is the pretrained one in its first layers, and fresh in the rest",
}
TREATMENTS = {
    "trained": "is trained",
    "frozen": "stays frozen",
    "gradual": "is unfrozen layer by layer, from the head down",
    "transplant_frozen": "is trained but for the transplanted layers",
}
# By the part of a metric's name that follows train/, val/ or test/.
METRICS = {
    "acc": "accuracy, the share of images that are classified rightly",
    "f1": "F1, averaged over the classes",
    "nll": "cross-entropy, nats an image",
    "ece": "expected calibration error, 15 bins",
    "mse": "mean squared error a pixel, of images in [0, 1]",
    "neg_elbo": "-ELBO, nats an image: distortion + rate",
    "distortion": "distortion, nats an image",
    "rate": "rate: KL to the prior, nats an image",
    "active_units": "latent units whose mean varies over the data",
    "probe_acc": "accuracy of k-NN on the code",
}
HOW = (
    "train: mean of the epoch's batches that were logged, as the weights were then, maybe augmented; val: the whole "
    "validation split at the epoch's end. The upright line is the epoch whose weights were tested and kept."
)
STATUS = {
    "finished": "finished",
    "failed": "failed",
    "interrupted": "interrupted before its end",
    "running": "still running when this page was written",
}
