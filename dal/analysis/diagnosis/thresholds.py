"""Thresholds of the detectors, fixed before the runs that judge them (benchmarks/diagnosis.py)."""

# --- training and network
ONSET_ALPHA = 0.025
"""Level of each half in onset: both must reach it. Measured: 0 of 20 clean runs called, 18 of 20 with 10 % wrong
labels."""
ONSET_LEAST_POINTS = 40
"""Held-out points that onset needs: 20 in each half."""
JUMP_RATIO = 5.0
"""A layer jumps if it changes by more than this times the median of its other rounds."""
JUMP_FIRST_ROUND = 2
"""The first rounds change much, because they add many labels to few."""
JUMP_LEVEL = 0.025
"""One-sided level of the binomial limit of churn, which a jump must exceed."""
FROZEN_CHANGE = 1e-4
"""A layer that changes by less than this share of its norm is frozen in effect."""
NARROW_FIT = 0.98
"""A network that predicts less of its old labels may be too narrow. Measured on networks of width 2, 4, 8 and 64: 0.52,
0.79, 0.95 and 1.00."""
NARROW_RANK = 0.6
"""Share of the dimensions that the features of a narrow network use. Measured: 0.98, 0.75, 0.75 and 0.56."""
NARROW_ROUNDS = 3
"""Rounds that must agree, and rounds that train on a label before it counts as old."""
NARROW_LEAST_LABELS = 40
"""Old labels that the verdict needs: below, 0.98 is less than one label."""
FLAT_SLOPE = 0.01
"""A loss is flat if it falls by less than this share in 100 updates."""
DEEP_GAIN = 0.01
"""A later layer adds nothing if the upper limit of its gain is below this accuracy."""
DEEP_LEVEL = 0.05
DEEP_LAYERS = 2
"""Layers that must follow the last one that adds something."""
DEEP_LEAST_POINTS = 100
