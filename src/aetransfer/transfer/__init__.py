"""How an encoder travels: arms and their controls, carrying, exported files, foreign weights, the model card.

`resolve` makes one job of a config: which pretraining, which shapes, which head.
"""
