"""Which jobs a sweep has: its list, its queue on a cluster, its status, and the search.

What the jobs came to is in `report`.
"""
