"""Image sources: image files, folders and other Datasets."""
