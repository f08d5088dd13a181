"""Plausible records of a run, simulated from a few numbers, without training."""

from dataclasses import dataclass, field, replace

import numpy as np

from dal.analysis.diagnosis.history import NOT_TESTED, NOT_WRITTEN, Checks, History, LastFeatures, Layers, Pool, Trained


@dataclass
class Plan:
    """What happens in a simulated run.

    The recall of a class grows with its labels. ``lost`` maps a class to the round from which it is lost. ``gone`` maps
    a class to the round from which the pool has none of it. ``twins`` are two classes that the model cannot tell apart.
    """

    rounds: int = 12
    classes: int = 10
    test: int = 50
    query: int = 20
    pool: int = 2000
    seed: int = 0
    lost: dict = field(default_factory=dict)
    gone: dict = field(default_factory=dict)
    twins: tuple = ()
    few: dict = field(default_factory=dict)
    """Test points by class, in place of ``test``."""
    names: list | None = None
    checks: bool = True
    layers: int = 6
    features: bool = True


def history_of(plan=None, **changes):
    """Return the records of a run by a Plan, or by changes to the default one."""
    plan = plan or Plan(**changes)
    rng = np.random.default_rng(plan.seed)
    names = plan.names or [f"class {k}" for k in range(plan.classes)]
    label = np.repeat(np.arange(plan.classes), [plan.few.get(k, plan.test) for k in range(plan.classes)])
    hard = rng.random(len(label))
    new = np.stack([_new_labels(plan, at, rng) for at in range(plan.rounds)])
    log_prob = np.stack([_log_prob(plan, at, label, hard, new, rng) for at in range(plan.rounds)])
    predicted = log_prob.argmax(-1) if len(label) else np.full((plan.rounds, 0), NOT_TESTED)
    trained, index = _trained(plan, new, rng)
    stop = [_stop(plan, at, rng) for at in range(plan.rounds)]
    return History(
        classes=names,
        labels_bought=new.sum(1).cumsum(),
        starts=["scratch"] + ["continue"] * (plan.rounds - 1),
        query_sizes=new.sum(1),
        new_labels=new,
        test_label=label,
        test_predicted=predicted,
        test_log_prob=log_prob,
        stop_predicted=stop,
        trained=trained,
        pool=[_pool(plan, at, new) for at in range(plan.rounds)],
        layers=[_layers(plan, at, rng) for at in range(plan.rounds)] if plan.layers else [],
        checks=[_checks(at, rng) for at in range(plan.rounds)] if plan.checks else [],
        features=_features(plan, label, trained[-1], rng) if plan.features else None,
        test_index=np.arange(len(label)),
        test_ids=[f"test/{at:05d}.png" for at in range(len(label))],
        train_ids={int(at): f"train/{at:05d}.png" for at in index},
    )


def _new_labels(plan, at, rng):
    share = np.array([0.0 if at >= plan.gone.get(k, plan.rounds) else 1.0 for k in range(plan.classes)])
    share *= rng.uniform(0.4, 1.6, plan.classes)
    return rng.multinomial(plan.query * (2 if at == 0 else 1), share / share.sum())


def _log_prob(plan, at, label, hard, new, rng):
    """(T, C): a point is right if it is less hard than the recall of its class, else it looks like the next class."""
    count = new[: at + 1].sum(0)
    recall = 1 - 0.75 * np.exp(-count / (1.2 * plan.query / np.sqrt(plan.classes) + 1e-9))
    for k, since in plan.lost.items():
        recall[k] *= 0.35 if at >= since else 1
    right = hard + rng.normal(0, 0.03, len(label)) < recall[label]
    other = (label + np.where(hard > 0.93, 3, 1)) % plan.classes
    if plan.twins:
        a, b = plan.twins
        twin = np.isin(label, plan.twins)
        right = np.where(twin, rng.random(len(label)) < 0.5, right)
        other = np.where(label == a, b, np.where(label == b, a, other))
    logits = rng.normal(0, 0.5, (len(label), plan.classes))
    rows = np.arange(len(label))
    logits[rows, np.where(right, label, other)] += 2 + 3 * rng.random(len(label))
    logits[rows, np.where(right, other, label)] += 1.5
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def _trained(plan, new, rng):
    label = np.concatenate([np.repeat(np.arange(plan.classes), row) for row in new])
    bought = np.repeat(np.arange(plan.rounds), new.sum(1))
    index = rng.permutation(plan.pool)[: len(label)]
    order = np.argsort(index)
    label, bought, index, hard = label[order], bought[order], index[order], rng.random(len(label))
    entries = []
    for at in range(plan.rounds):
        seen = bought <= at
        margin = 3 - 4 * hard[seen] + 0.3 * (at - bought[seen]) + rng.normal(0, 1.0, seen.sum())
        before = np.where((bought[seen] == at) & (at > 0), -np.log1p(np.exp(-rng.normal(0, 1.5, seen.sum()))), np.nan)
        told = label[seen]
        predicted = np.where(margin > 0, told, (told + 1) % plan.classes)
        entries.append(Trained(index[seen], told, bought[seen], predicted, -np.log1p(np.exp(-margin)), margin, before))
    return entries, index


def _pool(plan, at, new):
    if at == 0:
        return None
    left = np.array([plan.pool / plan.classes] * plan.classes) - new[:at].sum(0)
    for k, since in plan.gone.items():
        left[k] = 0 if at >= since - 1 else left[k] * (since - at) / since
    left = np.maximum(left, 0)
    return Pool(np.round(left).astype(np.int64), left, int(left.sum()))


def _layers(plan, at, rng):
    depth = np.arange(plan.layers)
    change = 0.3 * np.exp(-at / 4) * (1 + depth) / plan.layers * rng.uniform(0.8, 1.2, plan.layers)
    cka = 1 - change / 2
    nothing = np.full(plan.layers, np.nan)
    width = 16 * 2 ** np.minimum(depth // 2, 3)
    names = [f"features.{3 * i}" for i in range(plan.layers - 1)] + ["head"]
    return Layers(
        names,
        10 + depth.astype(float),
        change if at else nothing,
        cka if at else nothing,
        width * np.linspace(0.7, 0.3, plan.layers),
        width,
    )


def _checks(at, rng):
    updates = np.arange(20, 201, 20)
    held_out = 0.4 + 1.2 * np.exp(-updates / 40) + 0.002 * updates * (at > 6)
    labeled = 1.5 * np.exp(-updates / 50)

    def points(mean, count):
        return np.maximum(mean[:, None] + rng.normal(0, 0.1, (len(mean), count)), 0)

    return Checks(
        updates,
        "validation",
        points(held_out, 30),
        rng.random((len(updates), 30)) < 0.8,
        points(labeled, 20),
        rng.random((len(updates), 20)) < 0.95,
    )


def _stop(plan, at, rng):
    fixed = np.random.default_rng(plan.seed + 1).integers(plan.classes, size=200)
    noisy = rng.random(200) < 0.4 * np.exp(-at / 4)
    return np.where(noisy, rng.integers(plan.classes, size=200), fixed)


def _features(plan, label, trained, rng):
    center = rng.normal(0, 2, (plan.classes, 16))
    test = center[label] + rng.normal(0, 1, (len(label), 16))
    labeled = center[trained.label] + rng.normal(0, 1, (len(trained.label), 16))
    names = [f"features.{3 * i}" for i in range(plan.layers)]
    noise = np.linspace(4, 1, max(plan.layers, 1))
    return LastFeatures(
        test,
        np.arange(len(label)),
        labeled,
        names,
        [test + rng.normal(0, s, test.shape) for s in noise[: plan.layers]],
        np.arange(len(label)),
        [labeled + rng.normal(0, s, labeled.shape) for s in noise[: plan.layers]],
        np.arange(len(labeled)),
    )


def journal_alone(history, rounds=None):
    """The same run without records of these rounds, by default of all: their confusion matrices are in the journal."""
    rounds = list(range(history.num_rounds)) if rounds is None else rounds
    num = history.num_classes
    confusion = [np.zeros((num, num), np.int64) for _ in range(history.num_rounds)]
    for at, matrix in enumerate(confusion):
        np.add.at(matrix, (history.test_label, history.test_predicted[at]), 1)
    predicted, log_prob = history.test_predicted.copy(), history.test_log_prob.copy()
    predicted[rounds], log_prob[rounds] = NOT_TESTED, np.nan

    def without(entries):
        return [None if at in rounds else entry for at, entry in enumerate(entries)]

    lists = ("stop_predicted", "trained", "pool", "layers", "checks")
    is_bare = len(rounds) == history.num_rounds
    of_test = {"test_predicted": predicted, "test_log_prob": log_prob}
    if is_bare:
        none = {"test_label": history.test_label[:0], "test_index": history.test_index[:0], "test_ids": []}
        of_test = {name: values[:, :0] for name, values in of_test.items()} | none
    return replace(
        history,
        **of_test,
        **{name: without(getattr(history, name)) for name in lists},
        confusion=confusion,
        missing=dict.fromkeys(rounds, NOT_WRITTEN),
        features=None if is_bare else history.features,
    )
