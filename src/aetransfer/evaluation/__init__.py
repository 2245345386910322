"""What is measured of a finished run: probes, reconstruction, likelihood, predictions, transferability.

A measure of one's own is a class with one method (docs/add_an_arm_or_a_measure.md).
"""
