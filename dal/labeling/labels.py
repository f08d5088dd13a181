"""Labels: what a learner is told, of the pool and of the points that are held out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor

from dal.data.answered_masks import AnsweredMasks
from dal.data.images import ImageData
from dal.errors import DalError, bad_content
from dal.labeling.held_out import HeldOut
from dal.labeling.people.answers import Answers
from dal.labeling.people.fold import Fold
from dal.labeling.people.taking import masks_of, take
from dal.labeling.pool import Pool


class Labels:
    """The labels of a training set, and the round that they belong to.

    ``pool`` has the training labels and ``held_out`` those for testing and validation.
    """

    def __init__(self, data: ImageData, pool: Pool | None = None) -> None:
        self.data = data
        pool = pool or Pool(data.num_points, data.num_classes, task=data.task)
        pool.check_fits(data.num_points, data.num_classes, data.task)
        self.held_out = HeldOut(pool)
        self.paid: int | None = None
        """Answers that people were paid for, or None if no answers were taken."""
        self.round = 0
        self._fitted_round: int | None = None

    @property
    def pool(self) -> Pool:
        """The labeled and unlabeled training points."""
        return self.held_out.pool

    @pool.setter
    def pool(self, pool: Pool) -> None:
        pool.check_fits(self.data.num_points, self.data.num_classes, self.data.task)
        self.held_out.pool = pool

    @property
    def validation(self) -> tuple[Tensor, Tensor] | None:
        """Indices and labels of the validation set, or None."""
        return self.held_out.validation

    @property
    def test(self) -> tuple[Tensor, Tensor] | None:
        """Indices and labels of the test set that was bought from the pool, or None."""
        return self.held_out.test

    @property
    def labels_bought(self) -> int:
        """Number of labels that were paid: for training, validation and the bought test set.

        Of people's answers, those that say ``unsure`` or ``none`` are paid too.
        """
        return self.pool.num_labeled + self.held_out.num_labels if self.paid is None else self.paid

    @property
    def is_fitted(self) -> bool:
        """Whether the model is trained on labels."""
        return self._fitted_round is not None

    def trainable(self) -> tuple[Tensor, Tensor]:
        """Return indices and labels of the points labeled with a class. Raises DalError if there are none."""
        labeled, labels = self.data.trainable((self.pool.labeled, self.pool.labels(self.pool.labeled)))
        if not len(labeled):
            if count := self.pool.num_labeled:
                if self.data.task.is_dense:
                    raise bad_content("fit", "masks with pixels that are not ignored", f"{count} units without any")
                raise bad_content("fit", "points labeled with a class", f"{count} that belong to none")
            raise DalError("fit: expected labeled points, got none. Call ask() and tell() first.")
        return labeled, labels

    def tell(self, indices: Sequence[int], labels: Sequence[int]) -> None:
        """Record labels for points.

        Raises DalError, and records no label, if one is invalid (see Pool.label).
        """
        self._check_masks(indices)
        starts_round = self._fitted_round == self.round
        self.pool.label(indices, labels, self.round + starts_round)
        self.round += starts_round

    def tell_validation(self, indices: Sequence[int], labels: Sequence[int]) -> None:
        """Move points from the pool to the validation set.

        Their labels count as bought. Raises DalError as tell() does, and if no point belongs to a class.
        """
        self._check_masks(indices)
        self.held_out.tell(self.data, validation=(indices, labels))

    def tell_test(self, indices: Sequence[int], labels: Sequence[int]) -> None:
        """Move points from the pool to a test set, for test_metrics(). They are never trained on or selected.

        Their labels count as bought. Raises DalError as tell_validation() does.
        """
        self._check_masks(indices)
        self.held_out.tell(self.data, test=(indices, labels))

    def _check_masks(self, indices: Sequence[int]) -> None:
        """Raise DalError for a point whose image has no mask in the data, where its label is."""
        masks = self.data.masks
        if masks is None or isinstance(masks, AnsweredMasks):
            return
        for index in indices:
            if 0 <= index < self.data.num_points and self.data.labels[index // self.data.units_per_image] != 0:
                expected = "points of images with a mask in the data"
                raise bad_content("indices", expected, f"{self.data.point_ids[index]!r}, which has none")

    def hold_out(self, test: Sequence[int] = (), validation: Sequence[int] = ()) -> None:
        """Keep points for testing and validation, whose labels take() brings.

        They leave the pool. Raises DalError for points that have a label or are held out already.
        """
        self.held_out.hold(test, validation)

    def correct(self, index: int, label: int) -> None:
        """Replace the label of a training point or of a held-out point.

        The next fit() trains on it, in a new round as after tell(). Raises DalError for a point without a label and for
        an invalid label.
        """
        if index in self.held_out:
            self.held_out.correct(index, label)
        else:
            self.pool.correct(index, label)
        self._begin_round()

    def take(self, answers: Answers | Fold, asked: Sequence[int] = ()) -> None:
        """Make the labels what people's answers say, and start a round if the last one is trained.

        New training labels follow the order of ``asked``, which are the indices that people were asked for. Other new
        labels follow by their time in the journal. Changed labels are corrected, and labels that were taken back leave.
        A point of none of the classes gets the label OUT_OF_CLASS. Points that people are unsure of and points without
        a readable image are no candidates, and a skipped point stays one. Labels of held-out points never train. A
        class that the model does not have yet counts as none of its classes.
        """
        self.look_at(answers, asked)
        self._begin_round()

    def look_at(
        self,
        answers: Answers | Fold,
        asked: Sequence[int] = (),
        *,
        round: int | None = None,
        changed: Collection[int] | None = None,
    ) -> None:
        """Take answers for the next ask(), as take() does, but start no round.

        New labels belong to ``round``, by default the next one to train. With ``changed``, only these points can differ
        from what the last call saw, and held-out points keep their labels until a call without it.
        """
        fold = answers.refresh() if isinstance(answers, Answers) else answers
        round = self.round + (self._fitted_round == self.round) if round is None else round
        take(fold, self.pool, self.held_out, round, asked, changed)
        if isinstance(self.data.masks, AnsweredMasks):
            points = set(fold.points() if changed is None else changed)
            into = [fold.classes.merged(number) for number in range(len(fold.classes.names))]
            self.data.masks.take(masks_of(fold, points), into, num_classes=self.data.num_classes)
        # What was paid stays paid, also for an answer that is taken back.
        self.paid = max(self.paid or 0, fold.bought)

    def _begin_round(self) -> None:
        self.round += self._fitted_round == self.round
