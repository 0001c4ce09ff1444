"""Clips of video from files: the frames that are wanted, cut to one size."""
