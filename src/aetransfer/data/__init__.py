"""Examples, splits, batches and augmentation: from files to what a training step sees.

A reader of files is in `readers`. Nothing here knows a model.
"""
