"""Doing a run: `stages` is its story, `build` makes its objects, `processes` starts several.

`callbacks` holds what looks at a training, resumes it or ends it.
"""
