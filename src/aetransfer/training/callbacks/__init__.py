"""What looks at a training and writes it down, what resumes it, and what ends it.

Those that only look change no number of a run.
"""
