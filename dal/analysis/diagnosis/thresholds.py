"""Thresholds of the detectors. The benchmark of the diagnosis states what they find and how often they are wrong."""

# --- labels and queries: forgetting, suspects, information, queries, collect ---
DATA_MAP_ROUNDS = 4
"""A point has a place on the data map after this many rounds: a standard deviation of fewer says little."""
LEARNED_RECALL = 0.8
"""A class is learned where Wilson's one-sided 95 % limit of its recall reaches this share in two rounds in a row."""
REFERENCE_ROUNDS = 4
"""A class is compared with the majority of this many rounds: the best single round is good by chance."""
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
SUSPECT_SLOW = 4
"""Or, since features that have learned wrong labels hide them: this many labels that the model was slow to fit and that
the readout contradicts. Clean warm runs of digits had at most 2, with 10 % wrong labels 3 to 16 of 300."""
SUSPECT_SLOW_P = 0.9
"""A label is fitted slowly if its mean probability since it was bought is below this number."""
SUSPECT_ACCURACY = 0.9
"""With a lower test accuracy, slow labels are hard rather than wrong: Fashion-MNIST at 80 % had 9 to 26 in clean runs.
"""
SUSPECT_FAST_SHARE = 0.96
"""Nearly all labels must be fitted in the round that buys them, or slow labels are those of short rounds."""
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
