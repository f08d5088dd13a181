"""A round of training in one call, for tests that need no learner."""

from dal import training
from dal.runtime.progress import silent
from dal.training import TrainingConfig
from dal.training.setup import TrainingSetup
from helpers.passes import passes_of


def setup_of(model, *, config=None, scoring=None, trainer_options=None, seed=0, ledger=None, on_progress=silent):
    passes = passes_of(model, scoring, ledger=ledger, on_progress=on_progress)
    return TrainingSetup(passes, config or TrainingConfig(), trainer_options or {}, seed)


def fit(model, data, labeled, validation=None, *, max_updates=None, round=0, **options):
    return training.fit(setup_of(model, **options), data, labeled, validation, max_updates=max_updates, round=round)
