"""Variants of data sets for benchmarks: subsets, copies, out-of-distribution images."""
