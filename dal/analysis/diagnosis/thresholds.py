"""Thresholds of the detectors. The benchmark of the diagnosis states what they find and how often they are wrong."""

# --- classes: learned, confusion, merge, ran out, stall, association ---
LEARNED_RECALL = 0.8
"""A class is learned where Wilson's one-sided 95 % limit of its recall reaches this share in two rounds in a row."""
REFERENCE_ROUNDS = 4
"""A class is compared with the majority of this many rounds: the best single round is good by chance."""
LOST_ALPHA = 0.05
"""Level of the exact McNemar tests, divided by the number of classes and of rounds after the first (Bonferroni)."""
LOST_LEAST = 0.05
"""The least drop of a class's recall that is reported. A smaller one hardly matters."""
CONFUSION_LEVEL = 0.95
"""Level of the interval of each cell, and of its change. It decides which cells are pale, and no finding."""
MERGE_AUC = 0.85
"""The upper limit of the AUC of two classes to be merged: it finds twins, and leaves classes that overlap by half."""
MERGE_ALPHA = 0.05
"""Level of the upper limits, divided by the number of pairs (Bonferroni)."""
MERGE_LABELS = 15
"""Labels that both classes need: with fewer, a network may not have learned the difference yet."""
MERGE_FIT = 0.95
"""Accuracy on the labels of the other classes. A network below it has not fitted its own labels."""
MERGE_ROUNDS = 3
"""Rounds whose logits are averaged: one round forgets classes that the next knows again."""
MERGE_STEP = 2
"""Rounds between two looks, and the rounds in which both classes need new labels."""
MERGE_MOST_PAIRS = 500
"""With more pairs, only pairs with a confusion are looked at."""
MERGE_TESTED = 10
"""Test images that both classes need: the error of an AUC of fewer is not known well."""
CONFUSED_SHARE = 0.1
"""Share of the test images of a pair that are taken for the other class, from which a pair is called confused."""
RAN_OUT_SHARE = 0.02
"""A pool has run out of a class if its share is below this one."""
RAN_OUT_OF_EQUAL = 0.2
"""With more than 10 classes, the limit is this part of an equal share: 2 % would be much for one of 100 classes."""
RAN_OUT_LEVEL = 0.95
"""Level of each upper limit, without a correction. Simulated and measured, the limits hold more often."""
RAN_OUT_RECALL = 0.6
"""Lower limit of the recall of the class. The predictions of a model that misses a class say little about its share."""
STALL_ROUNDS = 3
STALL_GROWTH = 0.2
"""The labels of the run grew by this share in these rounds."""
STALL_ERROR = 1.5
"""The error of a stalled class is more than this many times that of the median class."""
STALL_LEAST = 0.05
"""The least error of a stalled class. With a smaller one there is hardly anything to learn."""
STALL_ALPHA = 0.05
"""Level of the exact test of a gain: a class that improves, however little, does not stall."""
STALL_GAIN = 0.02
"""The upper 95 % limit of the gain of recall of a stalled class."""
ASSOCIATION_ALPHA = 0.05
ASSOCIATION_PERMUTATIONS = 10_000
# --- end of classes ---
