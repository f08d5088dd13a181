"""Folders of images: files, labels, and decoding."""
