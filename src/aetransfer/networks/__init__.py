"""Encoders, decoders and heads: plain torch modules.

No Lightning, no Hydra and no losses.
"""
