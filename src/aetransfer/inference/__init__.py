"""A finished run's network on other inputs: `embed` and `predict`.

A request is checked before torch is imported.
"""
