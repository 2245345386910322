"""The readers that come with the program, a file each: a split in, `Examples` out."""
