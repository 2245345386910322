"""What a run's page says in words of arms, in its first sentence, and of metrics that no model measures."""

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
# Of this program's callbacks, by the part of a metric's name that follows val/.
OF_CALLBACKS = {"probe_acc": "accuracy of k-NN on the code"}
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
