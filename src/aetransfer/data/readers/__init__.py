"""What reads a data set: a split in, `Examples` out. A file for each kind of data.

A reader of one's own follows the same contract (docs/add_a_data_set.md).
"""
