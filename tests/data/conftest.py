"""Hypothesis without a deadline: how long an example takes says nothing on a machine that trains beside the tests."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
