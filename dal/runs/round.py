"""A row of the journal: the record of one round."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dal.costs.kinds import cost_key
from dal.costs.phases import Costs, counts_flops, parse_costs, total_costs
from dal.costs.prices import MEASURING
from dal.runs.wilson import wilson_interval

PRIMARY_METRIC = "accuracy"
"""The metric that rules and reports use, unless the data of a run has another one."""

SPLITS = ("test", "val", "train")


class Round(dict[str, Any]):
    """A line of rounds.jsonl: a dict of flat keys.

    Typed properties return the keys that readers need.

    Keys, in the order of the file:

    - ``round``: its number. Round 0 trains on the initial set
    - ``num_labeled``, ``num_validation``: labels for training and for validation. ``num_test``: those of a bought test
      set. ``labels_bought``: their sum, or with people the number of their paid answers
    - ``cost_units``, ``cost_images``, ``cost_pixels``, ``cost_clicks``, ``cost_seconds``: what these labels cost, for
      segmentation (see dal.labeling.unit_costs)
    - ``annotator_seconds``: the seconds of people for the answers since the round before
    - ``num_outside``: labels spent on images outside all classes, if the data has such images
    - ``test_NAME``: metrics on the test set, one key per metric, if the data has a test set
    - ``val_NAME``: metrics on the validation set, if the run has one
    - ``train_NAME``: metrics on labeled points, if training monitors them
    - ``stop_predictions``, ``stop_uncertainty``: predicted classes of the stop set, and their mean entropy from 0 to 1
    - ``query_disagreement``: how much less certain the model is about the query than about random points, if a rule
      needs it
    - ``warm_start``: the weights that training starts from: scratch, continue or shrink_perturb
    - ``updates``: optimizer updates. ``best_update``: the one whose weights are kept
    - ``training_stopped``: why training ends. ``training_history``: its checks
    - ``samples_forward_PHASE``, ``samples_backward_PHASE``, ``flops_forward_PHASE``, ``flops_backward_PHASE``,
      ``flops_draws_PHASE``, ``flops_select``, ``seconds_PHASE``, ``joules_PHASE``: see dal.costs.phases
    - ``peak_memory_bytes``: the peak memory of a phase
    - ``devices``: number of devices
    - ``answers_seq``: with people, the number of events that the round sees. ``behind``: those that can change a label
      since the previous round. ``rho``: those that arrive while this round is chosen, trained and tested
    - ``num_unsure``, ``num_none``, ``num_corrected``: points that people cannot tell, points of none of the classes,
      and answers that a later one replaces. ``annotator_seconds``: of the answers since the previous round
    - ``answers_sha256``, ``weights_sha256``: with people, the digests of these events and of the weights
    - ``labels_changed``: of a round that people's corrections caused after the end of the campaign, how many labels
      differ from those of the previous round
    - ``campaign_stopped``: why the campaign ends after this round, or None

    The row of a final model starts with ``backbone`` and ``weights``, and lacks ``round``, ``warm_start`` and
    ``campaign_stopped``. Rows of older runs may lack keys.

    >>> row = Round({"labels_bought": 60, "test_accuracy": 0.9, "flops_forward_train": 4, "flops_forward_test": 1})
    >>> row["test_accuracy"], row.metrics("test"), row.method.total_flops
    (0.9, {'accuracy': 0.9}, 4)
    """

    @property
    def round(self) -> int:
        return int(self["round"])

    @property
    def labels_bought(self) -> int:
        """Training and validation labels."""
        return int(self["labels_bought"])

    def spent(self, kind: str) -> float:
        """Return what all labels so far cost.

        Raises KeyError for a cost that the round does not record.

        >>> Round(labels_bought=3).spent("units"), Round(cost_clicks=7.5).spent("clicks")
        (3, 7.5)
        """
        return self.labels_bought if kind == "units" else float(self[cost_key(kind)])

    @property
    def num_validation(self) -> int:
        return int(self.get("num_validation") or 0)

    @property
    def num_test(self) -> int:
        """Test labels that people gave. Labels that come with the data are not counted."""
        return int(self.get("num_test") or 0)

    @property
    def num_labeled(self) -> int:
        """Training labels."""
        known = self.get("num_labeled")
        return self.labels_bought - self.num_validation - self.num_test if known is None else int(known)

    @property
    def annotator_seconds(self) -> float | None:
        """Seconds of people for the answers since the round before, or None if nobody measured them."""
        seconds = self.get("annotator_seconds")
        return None if seconds is None else float(seconds)

    def test_interval(self, metric: str = PRIMARY_METRIC) -> tuple[float, float] | None:
        """Return the 95 % Wilson interval of the accuracy on a test set that people labeled.

        Returns None without such a test set, and for a metric that is no share of correct answers.

        >>> low, high = Round({"test_accuracy": 0.91, "num_test": 100}).test_interval()
        >>> round(low, 4), round(high, 4)
        (0.8377, 0.9519)
        """
        accuracy = self.get(on_test(metric))
        if metric != PRIMARY_METRIC or accuracy is None or not self.num_test:
            return None
        # Labels outside the classes are bought, but not tested. The confusion matrix has those that are tested.
        matrix = self.get("test_confusion_matrix")
        tested = sum(map(sum, matrix)) if matrix else self.num_test
        return wilson_interval(round(accuracy * tested), tested)

    @property
    def updates(self) -> int:
        """Optimizer updates."""
        return int(self["updates"])

    @property
    def devices(self) -> int:
        return int(self.get("devices") or 1)

    @property
    def campaign_stopped(self) -> str | None:
        """Why the campaign ends after this round, or None if it continues."""
        reason: str | None = self.get("campaign_stopped")
        return reason

    def metrics(self, split: str) -> dict[str, Any]:
        """Return the metrics on a split, without the prefix."""
        start = f"{split}_"
        return {key.removeprefix(start): value for key, value in self.items() if key.startswith(start)}

    @property
    def costs(self) -> dict[str, Costs]:
        """The costs of each phase."""
        return parse_costs(self)

    def cost(self, phases: Collection[str] | None = None) -> Costs:
        """Return the summed costs of these phases, or of all."""
        return total_costs(self.costs, phases)

    @property
    def method(self) -> Costs:
        """The costs without testing and diagnosing, which only measure the method."""
        return total_costs({phase: costs for phase, costs in self.costs.items() if phase not in MEASURING})

    @property
    def counts_flops(self) -> bool:
        """Whether FLOPs are counted. Rows of the first versions have none."""
        return counts_flops(self)


def on_test(metric: str) -> str:
    """Return the key of a metric on the test set.

    >>> on_test("accuracy")
    'test_accuracy'
    """
    return f"test_{metric}"


def in_words(metric: str) -> str:
    """Return the name of a metric for a sentence.

    >>> in_words("mean_average_precision")
    'mean average precision'
    """
    return "mIoU" if metric == "miou" else metric.replace("_", " ")
