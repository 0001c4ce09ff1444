"""Sound from files: decoded on the host, seen as a spectrogram on the device."""
