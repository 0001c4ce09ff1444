"""Sweeps: which settings to try, many trials in one program or one after the other, over any number of workers."""
