"""What a benchmark changes in a data set: subsets, copies, images out of distribution."""
