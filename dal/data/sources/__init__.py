"""Where images come from: tensors, folders, and other Datasets."""
