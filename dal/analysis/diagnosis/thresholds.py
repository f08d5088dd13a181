"""Thresholds of the detectors, fixed before the runs that judge them (benchmarks/diagnosis.py)."""

# --- training and network
ONSET_ALPHA = 0.025
"""Level of each half in onset: both must reach it. Measured: 0 of 20 clean runs called, 18 of 20 with 10 % wrong
labels."""
ONSET_LEAST_POINTS = 40
"""Held-out points that onset needs: 20 in each half."""
JUMP_RATIO = 2.0
"""A layer jumps if it changes by more than this times as much as in each of the two rounds before and after. In clean
warm runs of digits, on other seeds than those of the benchmark, the largest ratio was 1.5, and a new layer had 3.1."""
JUMP_FIRST_ROUND = 2
"""The first rounds change much, because they add many labels to few."""
JUMP_LEVEL = 0.025
"""One-sided level of the binomial limit of churn, which a jump must exceed."""
FROZEN_CHANGE = 1e-4
"""A layer that changes by less than this share of its norm is frozen in effect."""
NARROW_FIT = 0.98
"""A network that predicts less of its old labels may be too narrow. Measured on networks of width 2, 4, 8 and 64: 0.52,
0.79, 0.95 and 1.00."""
NARROW_RANK = 0.45
"""Share of the dimensions that the features of a narrow network use. On digits, and other seeds than those of the
benchmark: CNNs of 1, 2 and 4 channels 0.49 to 0.68, and of 16 channels 0.31 to 0.37, or 0.41 to 0.43 with wrong labels.
"""
NARROW_ERRORS = 2.5
"""A network with this many times the error on its labels that it has on the test set has wrong labels rather than too
few channels. Measured: 1.0 to 1.5 for narrow networks, 3.6 and 4.5 with 10 % wrong labels."""
NARROW_ROUNDS = 3
"""Rounds that must agree, and rounds that train on a label before it counts as old."""
NARROW_LEAST_LABELS = 40
"""Old labels that the verdict needs: below, 0.98 is less than one label."""
FLAT_SLOPE = 0.01
"""A loss is flat if it falls by less than this share in 100 updates."""
DEEP_GAIN = 0.02
"""A later layer adds nothing if the upper limit of its gain is below this accuracy. With 500 test points, a limit below
0.01 does not come about even for equal layers."""
DEEP_LEVEL = 0.05
"""Level of each limit. All later layers must pass, so that it holds for the whole tail."""
DEEP_LAYERS = 2
"""Layers that must follow the last one that adds something."""
DEEP_LEAST_POINTS = 100

# --- labels and queries: forgetting, suspects, information, queries, collect ---
DATA_MAP_ROUNDS = 4
"""A point has a place on the data map after this many rounds: a standard deviation of fewer says little."""

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
FORGETTING_ALPHA = 0.05
"""Level of the exact McNemar tests, divided by the number of classes and rounds (Bonferroni)."""
FORGETTING_LEAST = 0.05
"""The least drop of a class's recall that is reported. A smaller one hardly matters."""
CALIBRATION_BINS = 15
"""Bins of equal width of the expected calibration error (Guo et al., 2017)."""
SATURATED_SURPRISE = 0.1
"""The last labels told little if their surprise is below this share of the bits of a guess among all classes."""
SATURATED_LABELS = 20
"""That many labels, at least, are looked at for it."""
LEAST_LABELS = 10
"""Fewer labels give no readout worth a look."""
SUSPECT_FOLDS = 5
"""Folds of the out-of-fold probabilities, and the least number of labels of a class that is judged."""
SUSPECT_SHARE = 0.02
SUSPECT_MOST = 24
"""Most suspects to show: this number, or this share of the labels if that is fewer images than a page holds."""
SUSPECT_ISSUES = 2.0
"""Suspects are shown if the lower 95 % limit of the estimated number of wrong labels is above this number."""
SUSPECT_RESAMPLES = 200
QUERY_HARM_Z = 3.5
"""Robust z of a harmful query: the usual limit of modified z-scores (Iglewicz and Hoaglin, 1993)."""
QUERY_LEAST = 6
"""Fewer queries give no spread to compare a query with."""
QUERY_NULL_SETS = 20
"""Random sets of labels that a query is compared with."""
QUERY_ALPHA = 0.05
"""Level of the harm, and of the benefit, of all queries together (Holm)."""
QUERY_NEWTON_LABELS = 20_000
"""With more labels, one Newton step replaces the refit without a query."""
COLLECT_POINTS = 4
"""Different numbers of labels that a learning curve of a class needs."""
COLLECT_RESAMPLES = 400
COLLECT_CONFIDENCE = 0.8
"""Confidence of the intervals of expected gains."""
COLLECT_LEAST = 0.03
"""The least expected gain of recall, above the median class's, of a class that is named."""
COLLECT_ALPHA = 0.05
"""Level for naming a class, divided by the number of classes."""
COLLECT_EXAMPLES = 6
# --- end of labels and queries ---
