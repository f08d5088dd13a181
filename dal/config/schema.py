"""Configuration dataclasses of a run, and the objects they build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from dal.acquisition.base import AcquisitionFunction
from dal.acquisition.own_file import file_digest, load_own_file
from dal.acquisition.registry import registry as acquisition_functions
from dal.config.trainer import trainer_defaults
from dal.config.unit_settings import CampaignSettings, UnitSettings, unit_fields
from dal.config.values.home import expand_home
from dal.costs.prices import PricesConfig
from dal.data.images import ImageSplits
from dal.data.sets.config import DataConfig
from dal.data.sets.registry import registry as data_sets
from dal.data.sets.unlabeled_folder import UnlabeledFolder
from dal.errors import bad_content, bad_value, unknown_choice
from dal.labeling.oracle import Oracle, OracleConfig
from dal.labeling.people.oracle import People
from dal.loop import ActiveLearner
from dal.models import ModelConfig
from dal.models.base_module import BaseModule
from dal.runs.diagnosis import DiagnosisConfig
from dal.runtime.progress import OnProgress, silent
from dal.runtime.ranges import whole
from dal.runtime.user_paths import is_file
from dal.scoring.candidates import CandidatesConfig
from dal.scoring.config import ScoringConfig
from dal.stopping import TARGET_METRICS, CampaignConfig, largest_query
from dal.training import TrainingConfig

ROOT_NAME = "run"
_SEEDS = whole(0, 2**63 - 1)


@dataclass
class RunConfig:
    """The complete configuration of a run.

    ``data`` and ``acquisition`` are Hydra groups whose options the package defines. ``model``, ``experiment``,
    ``compute`` and ``benchmark`` are groups of presets in configs/.
    """

    defaults: list[Any] = field(
        default_factory=lambda: [
            "_self_",
            {"data": "digits"},
            {"acquisition": "margin"},
            {"compute": "saver"},
            {"model": "none"},
            {"experiment": "digits"},
            {"benchmark": "none"},
        ]
    )
    compute: str = "saver"
    """Name of the preset for training and scoring effort, from configs/compute."""
    benchmark: str = "none"
    """Name of the preset for a benchmark regime, from configs/benchmark; none keeps the experiment's settings."""
    seed: int = 0
    """Seed of all random numbers in the run, 0 or above."""
    run_dir: str = "runs/${data.name}/${acquisition.name}/seed${seed}"
    """Folder of the run, which the same command resumes; ${KEY} inserts the value of another setting."""
    data: Any = MISSING
    model: ModelConfig = field(default_factory=ModelConfig)
    acquisition: Any = MISSING
    candidates: CandidatesConfig = field(default_factory=CandidatesConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    campaign: CampaignSettings = field(default_factory=CampaignSettings)
    oracle: OracleConfig = field(default_factory=OracleConfig)
    prices: PricesConfig = field(default_factory=PricesConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)
    trainer: dict[str, Any] = field(default_factory=trainer_defaults)


def register() -> None:
    """Register RunConfig and the options of its groups with Hydra, once."""
    store = ConfigStore.instance()
    if f"{ROOT_NAME}.yaml" in store.repo:
        return
    store.store(name=ROOT_NAME, node=RunConfig)
    for group in ("model", "experiment", "benchmark"):
        store.store(group=group, name="none", package="_global_", node={})
    options: dict[str, Mapping[str, type[Any]]] = {"data": data_sets(), "acquisition": acquisition_functions()}
    for group, found in options.items():
        for name, cls in found.items():
            store.store(group=group, name=name, node=option_type(name, cls))


def register_own_file(path: str) -> str:
    """Register the acquisition function in a user's file, and return its name.

    The configuration contains the path and a digest of the file, which identify the function when a run resumes.
    Raises DalError as load_own_file() does.
    """
    own = load_own_file(path)
    clash = {"name", "file", "digest"} & {f.name for f in fields(own.cls)}
    if clash:
        raise bad_value("acquisition", "no field called name, file or digest", min(clash))
    node = option_type(own.name, own.cls, file=own.path, digest=own.digest)
    ConfigStore.instance().store(group="acquisition", name=own.name, node=node)
    return own.name


def option_type(name: str, cls: type[Any], **facts: str) -> type[Any]:
    """Return a copy of dataclass ``cls`` with extra fields.

    Those in front are ``name``, its name on the command line, and ``facts``. Acquisition functions get those of units.
    """
    members: list[Any] = [(key, str, field(default=value)) for key, value in {"name": name, **facts}.items()]
    for f in (f for f in fields(cls) if f.init):
        default: dict[str, Any] = (
            {"default": f.default} if f.default is not NO_DEFAULT else {"default_factory": f.default_factory}
        )
        members.append((f.name, f.type, field(**default)))
    members += unit_fields(cls) if issubclass(cls, AcquisitionFunction) else []
    made = make_dataclass(f"{cls.__name__}Option", members)
    made.__module__ = cls.__module__  # the module in which names in the field types are resolved
    return made


@dataclass(frozen=True)
class Built:
    """The objects of a run that do not need its images."""

    seed: int
    run_dir: str
    data: DataConfig
    model: ModelConfig
    acquisition: AcquisitionFunction
    candidates: CandidatesConfig
    training: TrainingConfig
    scoring: ScoringConfig
    campaign: CampaignConfig
    oracle: OracleConfig
    prices: PricesConfig
    diagnosis: DiagnosisConfig
    trainer: dict[str, Any]
    units: UnitSettings

    def with_units(self, splits: ImageSplits) -> ImageSplits:
        """Return the images with the points that the campaign buys."""
        return splits if self.units.unit == "region" else splits._replace(train=splits.train.whole())

    def learner(self, splits: ImageSplits, on_progress: OnProgress = silent) -> ActiveLearner:
        """Return the learner. Raises DalError if ``candidates`` or settings of units do not fit."""
        train, candidates = splits.train, self.candidates.build()
        self.units.check_task(train.task)
        self.units.check_sides(train.units)
        answerable = len(train) if self.has_people else int(train.task.answerable(train.labels).sum())
        answerable *= train.units_per_image
        candidates.check(train.num_points, largest_query(self.campaign, answerable))

        def new_model() -> BaseModule:
            return self.model.build(train.image_shape, train.num_classes, train.task, train.statistics)

        return ActiveLearner(
            new_model,
            train,
            self.acquisition,
            candidates=candidates,
            training=self.training,
            scoring=self.scoring,
            trainer=self.trainer,
            initial=self.campaign.initial,
            pooling=self.units.pooling,
            unit_options=self.units.options,
            seed=self.seed,
            on_progress=on_progress,
        )

    @property
    def has_people(self) -> bool:
        """Whether the labels come from people."""
        return self.oracle.kind == "people"

    def oracle_for(self, splits: ImageSplits, on_progress: OnProgress = silent) -> Oracle | People:
        """Return the oracle for these images."""
        if not self.has_people:
            return self.oracle.build(splits.train, self.seed)

        def rebuild(classes: Sequence[str]) -> ActiveLearner:
            return self.learner(splits._replace(train=replace(splits.train, classes=list(classes))), on_progress)

        return People(splits.train, Path(self.run_dir), self.oracle, rebuild)


def build(config: Mapping[str, Any]) -> Built:
    """Check a resolved configuration and build its objects.

    Raises DalError, with the key, for a value out of range or an unknown name.

    >>> build({"acquisition": {"name": "bald", "num_draws": 10}, "data": {"name": "digits"}}).acquisition
    BALD(num_draws=10)
    """
    known = {f.name for f in fields(RunConfig)} - {"defaults"}
    for key in config:
        if key not in known:
            raise unknown_choice("config", known, key)
    config = expand_home(config)
    for key in ("data", "acquisition"):
        if key not in config:
            raise bad_content(key, "a name", "none")
    seed, run_dir = config.get("seed", 0), config.get("run_dir", "runs")
    _SEEDS.check("seed", seed)
    if not isinstance(run_dir, str) or not run_dir.strip():
        raise bad_value("run_dir", "the path of a folder", run_dir)
    try:
        run_dir.encode()
    except UnicodeEncodeError as error:  # TensorBoard cannot write to such a path
        raise bad_value("run_dir", "a path in UTF-8", run_dir) from error
    oracle: OracleConfig = _section("oracle", OracleConfig, config.get("oracle", {}))
    data: DataConfig = _named("data", data_sets(), config["data"])
    if isinstance(data, UnlabeledFolder) and oracle.kind != "people":
        expected = "a data set with labels, or oracle=people for a folder that nobody has labeled"
        raise bad_value("data", expected, "unlabeled_folder")
    campaign, unit = _campaign(config.get("campaign", {}))
    acquisition, units = _acquisition(config["acquisition"], unit)
    units.check_region(data.region_size)
    trainer = config.get("trainer", {})
    if not isinstance(trainer, Mapping):
        raise bad_value("trainer", "options by name", trainer)
    return Built(
        seed=seed,
        run_dir=run_dir,
        data=data,
        model=_section("model", ModelConfig, config.get("model", {})),
        acquisition=acquisition,
        candidates=_section("candidates", CandidatesConfig, config.get("candidates", {})),
        training=_section("training", TrainingConfig, config.get("training", {})),
        scoring=_section("scoring", ScoringConfig, config.get("scoring", {})),
        campaign=campaign,
        oracle=oracle,
        prices=_section("prices", PricesConfig, config.get("prices", {})),
        diagnosis=_section("diagnosis", DiagnosisConfig, config.get("diagnosis", {})),
        trainer=dict(trainer),
        units=units,
    )


def _campaign(values: Any) -> tuple[CampaignConfig, str]:
    """Return the campaign and its unit. The metric is one of a task, because the command line adds no others."""
    found: CampaignSettings = _section("campaign", CampaignSettings, values)
    campaign = CampaignConfig(**{f.name: getattr(found, f.name) for f in fields(CampaignConfig)})
    if campaign.target_metric not in TARGET_METRICS:
        raise unknown_choice("campaign.target_metric", TARGET_METRICS, campaign.target_metric)
    return campaign, found.unit


def _acquisition(chosen: Any, unit: str) -> tuple[Any, UnitSettings]:
    """Return the acquisition function and the settings of units."""
    options, values = acquisition_functions(), chosen
    if isinstance(chosen, Mapping) and "file" in chosen:
        values = dict(chosen)
        check_unchanged(chosen)
        own = load_own_file(values.pop("file"))
        values.pop("digest", None)
        options = {own.name: own.cls}
    shared: dict[str, Any] = {}
    if isinstance(values, Mapping) and values.get("name") in options:
        names = [name for name, _, _ in unit_fields(options[values["name"]])]
        shared = {key: value for key, value in values.items() if key in names}
        values = {key: value for key, value in values.items() if key not in shared}
    return _named("acquisition", options, values), UnitSettings.of(unit, shared)


def check_unchanged(chosen: Mapping[str, Any]) -> None:
    """Raise DalError if a file differs from its digest, without importing it."""
    path, digest = Path(chosen["file"]), chosen.get("digest")
    if digest is not None and is_file(path) and (found := file_digest(path)) != digest:
        expected = f"{str(path)!r} as it was (digest {digest})"
        raise bad_value("acquisition.file", f"{expected}, or acquisition={path} to use the current version", found)


def _named(group: str, options: Mapping[str, type[Any]], chosen: Any) -> Any:
    if not isinstance(chosen, Mapping) or not isinstance(chosen.get("name"), str):
        raise bad_value(group, "a section with a name", chosen)
    values = dict(chosen)
    name = values.pop("name")
    if name not in options:
        raise unknown_choice(group, options, name)
    return _section(group, options[name], values)


def _section(group: str, cls: Any, values: Any) -> Any:
    """Return the dataclass of a section. Raises DalError for an unknown key."""
    if not isinstance(values, Mapping):
        raise bad_value(group, "settings by name", values)
    known = [f.name for f in fields(cls) if f.init]
    for key in values:
        if key not in known:
            raise unknown_choice(group, known, str(key)) if known else bad_value(group, "no settings", key)
    return cls(**values)
