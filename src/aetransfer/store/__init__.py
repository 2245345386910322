"""What a run leaves: its identity, directory, record, lock and checkpoints.

`query` finds runs again. Nothing here imports torch when a finished run is looked for.
"""
