"""Files to uint8 tensors (readers), and uint8 tensors to augmented batches in [0, 1]. Knows nothing of models."""
