"""Own TFDS builders over real data that ships with dependencies: nothing is downloaded."""
