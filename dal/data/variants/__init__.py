"""Variants of a data set for benchmarks: subsets, copies, out-of-distribution images."""
