"""Acquisition functions, each with one file, one pure function and one class.

You can import every name in the ``__all__`` of a function's file from this package.

>>> from dal.acquisition import BALD, bald_scores, registry
>>> registry()["bald"] is BALD
True
"""

from dal.acquisition.alfa_mix import ALFAMix, alfa_mix_select, class_anchors, mixed_features
from dal.acquisition.badge import BADGE, badge_select, badge_weights
from dal.acquisition.bait import BAIT, bait_select
from dal.acquisition.bald import BALD, bald_scores
from dal.acquisition.base import (
    AcquisitionFunction,
    PoolModel,
    ScoreFunction,
    Selection,
    ShardedFunction,
    Summary,
    top_scores,
)
from dal.acquisition.batchbald import BatchBALD, batchbald_select
from dal.acquisition.cluster_margin import ClusterMargin, average_linkage, cluster_margin_select
from dal.acquisition.coreset import CoreSet, k_center_greedy
from dal.acquisition.dropquery import DropQuery, drop_query_select, feature_masks
from dal.acquisition.egl import EGL, egl_scores
from dal.acquisition.entropy import Entropy, entropy_scores
from dal.acquisition.epig import EPIG, epig_scores
from dal.acquisition.kmeans import KMeans, k_means_select
from dal.acquisition.least_confidence import LeastConfidence, least_confidence_scores
from dal.acquisition.margin import Margin, margin_scores
from dal.acquisition.mean_std import MeanSTD, mean_std_scores
from dal.acquisition.power_bald import PowerBALD
from dal.acquisition.probcover import ProbCover, probcover_select, purest_delta
from dal.acquisition.random import Random
from dal.acquisition.random_foreground import RandomForeground, random_foreground_select
from dal.acquisition.registry import modules, registry
from dal.acquisition.search.rows import DiskRows
from dal.acquisition.search.shards import Shard
from dal.acquisition.stochastic import Stochastic, stochastic_select
from dal.acquisition.stratified import Stratified, stratified_select
from dal.acquisition.typiclust import TypiClust, typicality, typiclust_select
from dal.acquisition.variation_ratios import VariationRatios, variation_ratio_scores

__all__ = [
    "BADGE",
    "BAIT",
    "BALD",
    "EGL",
    "EPIG",
    "ALFAMix",
    "AcquisitionFunction",
    "BatchBALD",
    "ClusterMargin",
    "CoreSet",
    "DiskRows",
    "DropQuery",
    "Entropy",
    "KMeans",
    "LeastConfidence",
    "Margin",
    "MeanSTD",
    "PoolModel",
    "PowerBALD",
    "ProbCover",
    "Random",
    "RandomForeground",
    "ScoreFunction",
    "Selection",
    "Shard",
    "ShardedFunction",
    "Stochastic",
    "Stratified",
    "Summary",
    "TypiClust",
    "VariationRatios",
    "alfa_mix_select",
    "average_linkage",
    "badge_select",
    "badge_weights",
    "bait_select",
    "bald_scores",
    "batchbald_select",
    "class_anchors",
    "cluster_margin_select",
    "drop_query_select",
    "egl_scores",
    "entropy_scores",
    "epig_scores",
    "feature_masks",
    "k_center_greedy",
    "k_means_select",
    "least_confidence_scores",
    "margin_scores",
    "mean_std_scores",
    "mixed_features",
    "modules",
    "probcover_select",
    "purest_delta",
    "random_foreground_select",
    "registry",
    "stochastic_select",
    "stratified_select",
    "top_scores",
    "typicality",
    "typiclust_select",
    "variation_ratio_scores",
]
