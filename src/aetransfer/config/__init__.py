"""The config: its schema, its checks in one sentence each, and the one place that calls a `_target_`.

Nothing here imports torch: a typo costs under a second.
"""
