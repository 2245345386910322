"""Pretexts and tasks: a loss, its metrics and what the model says of itself, a file each.

`base` is what all share.
"""
