"""Does an encoder that learnt to reconstruct one kind of image help to classify another?"""

__version__ = "0.1.0"
