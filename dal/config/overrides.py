"""Composes a configuration from command-line overrides, with Hydra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from dal.config.folder import config_folder
from dal.config.schema import ROOT_NAME, register, register_own_file
from dal.config.values.booleans import check_booleans
from dal.config.values.grammar import parsed
from dal.config.values.kinds import expected_kind
from dal.config.values.resolve import VALUE_ERRORS, first_line, resolve
from dal.config.values.sweeps import sweep_values, swept, value_text, written
from dal.config.values.texts import as_typed, check_digits, quoted_leaf
from dal.errors import DalError, bad_value, shortened, unknown_choice
from dal.runs.saved_config import REASONS, current_keys

GROUPS = ("data", "acquisition", "model", "experiment", "compute", "benchmark")

_COMPOSITION_ERRORS = (HydraException, *VALUE_ERRORS)
_PRESETS = ("experiment", "benchmark")  # groups without which a run is complete
_CHOSEN = {"data.name": "data=NAME", "acquisition.name": "acquisition=NAME", "acquisition.file": "acquisition=FILE"}
_SHORT = {"oracle": "oracle.kind", "diagnosis": "diagnosis.record"}  # sections with a choice and settings


def compose(overrides: list[str]) -> dict[str, Any]:
    """Return the resolved configuration of a single run.

    Raises DalError for an unknown key, an unknown choice, a value of the wrong type, or a sweep.

    >>> compose(["acquisition=bald", "seed=3"])["run_dir"]
    'runs/digits/bald/seed3'
    """
    overrides = with_own_files(under_current_keys(quoted(overrides)))
    checked, config = _checked(overrides)
    for override in checked:
        if override.is_sweep_override():
            raise DalError(f"{override.key_or_group}: expected one value, got {value_text(override)}. Add --multirun.")
        if re.match(r"hydra\b", override.key_or_group):
            expected = "a setting of dal, because only --multirun and --cfg use those of Hydra"
            raise bad_value(override.key_or_group, expected, override.input_line)
    is_complete = all(override.key_or_group in GROUPS or _is_value(override) for override in checked)
    return resolve(config if is_complete else _compose(overrides))


def compose_all(grid: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return the resolved configurations of many runs.

    The first of them must have passed check_overrides(). Runs that differ only in their seeds share one composition.

    Raises DalError as compose() does.
    """
    made: dict[tuple[str, ...], DictConfig] = {}
    configs = []
    for overrides in grid:
        seeds = [text for text in overrides if text.removeprefix("seed=").isdecimal()]
        kept = tuple(text for text in overrides if text not in seeds)
        if kept not in made:
            try:
                made[kept] = _compose(with_own_files(list(kept)))
            except DalError:
                check_overrides(list(kept))  # names the option
                raise
        config = made[kept].copy()
        if seeds:
            config.seed = int(seeds[-1].removeprefix("seed="))
        configs.append(resolve(config))
    return configs


def check_overrides(overrides: list[str]) -> list[Override]:
    """Parse overrides, and check every key, choice and type.

    For a sweep, check only the first value. Raises DalError for the first error.
    """
    checked, _ = _checked(overrides)
    return checked


def _checked(overrides: list[str]) -> tuple[list[Override], DictConfig]:
    """Return the checked overrides, and the configuration without overrides of Hydra's own settings."""
    checked = parse(with_own_files(overrides))
    for override in checked:
        _check_form(override)
    _check_not_removed(checked)
    plain = [_first_value(override) for override in checked]
    groups = [text for override, text in zip(checked, plain, strict=True) if override.key_or_group in GROUPS]
    with _hydra():
        loader = GlobalHydra.instance().config_loader()
        for override in checked:
            if override.key_or_group in GROUPS and not override.is_delete():
                names = loader.get_group_options(override.key_or_group)
                for choice in _choices(override):
                    if choice not in names:
                        raise unknown_choice(override.key_or_group, names, "null" if choice is None else str(choice))
    values = [(override, text) for override, text in zip(checked, plain, strict=True) if _is_value(override)]
    try:
        config = _hydra_compose([*groups, *(text for _, text in values)])
    except _COMPOSITION_ERRORS as error:
        _explain(groups, values)
        raise _does_not_fit(error) from error
    for override, _ in values:
        check_booleans(config, override)
    return checked, config


def with_own_files(overrides: list[str]) -> list[str]:
    """Register the Python files named in overrides, and replace paths by names. Short keys are written out.

    >>> with_own_files(["oracle=people"])
    ['oracle.kind=people']

    ``acquisition=random,my/function.py`` becomes ``acquisition=random,function``. Raises DalError for a file that does
    not define exactly one acquisition function.
    """
    result = []
    for text in overrides:
        key, _, value = text.partition("=")
        if key.lstrip("+") == "acquisition" and ".py" in value:
            (override,) = parse([text])
            # A file can be called nan.py or null.py.
            names = (quoted_leaf(register_own_file(c), True) if c.endswith(".py") else c for c in _texts(override))
            text = f"{key}={','.join(names)}"
        result.append(f"{_SHORT[key]}={value}" if key in _SHORT else text)
    return result


def under_current_keys(overrides: list[str]) -> list[str]:
    """Replace renamed keys by their current names, with a warning for each.

    >>> under_current_keys(["+training.batch_size=8"])
    ['+training.batch_size=8']
    """
    result = []
    for text in overrides:
        signed, equals, value = text.partition("=")
        old = signed.lstrip("+~")
        (new,) = current_keys([old])
        if new != old:
            text = f"{signed.removesuffix(old)}{new}{equals}{value}"
        result.append(text)
    return result


def quoted(overrides: list[str]) -> list[str]:
    """Quote values that Hydra's grammar cannot parse.

    Examples are paths with ``=`` or parentheses.

    >>> quoted(["seed=1", "run_dir=runs/a=b (old)"])
    ['seed=1', "run_dir='runs/a=b (old)'"]
    """
    result = []
    for text in overrides:
        key, equals, value = text.partition("=")
        check_digits(key, value)
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        attempts = [text, f"{key}='{escaped}'"] if equals else [text]
        result.append(as_typed(next((attempt for attempt in attempts if parsed(attempt)), text)))
    return result


def parse(overrides: list[str]) -> list[Override]:
    """Parse overrides with Hydra's grammar. Raises DalError if that fails."""
    found = []
    for text in overrides:
        override = parsed(text)
        if override is None:
            raise DalError(f"overrides: expected KEY=VALUE, got {shortened(text)}.")
        found.append(override)
    return found


def _check_form(override: Override) -> None:
    """Raise DalError for an unsupported deletion or key."""
    key = str(override.key_or_group)
    if override.is_delete() and key not in _PRESETS and not key.startswith(("trainer.", "hydra")):
        if any(removed.partition("=")[0] == key for removed in REASONS):
            return  # _check_not_removed() reports the reason
        got = f"{shortened(override.input_line)}. Only ~trainer.NAME can remove an option"
        raise DalError(f"{key}: expected {key}=VALUE, got {got}.")
    if key in _CHOSEN:
        raise DalError(f"{key}: expected {_CHOSEN[key]} to choose it, got {shortened(override.input_line)}.")


def _check_not_removed(checked: list[Override]) -> None:
    for override in checked:
        key = str(override.key_or_group)
        is_plain = override.is_choice_sweep() or not override.is_sweep_override()
        for removed, cause in REASONS.items():
            name, _, value = removed.partition("=")
            if key == name and (not value or (is_plain and value in _texts(override))):
                raise DalError(f"{removed} was removed because {cause}. Leave it out.")


def _compose(overrides: list[str]) -> DictConfig:
    try:
        return _hydra_compose(overrides)
    except _COMPOSITION_ERRORS as error:
        raise _does_not_fit(error) from error


def _hydra_compose(overrides: list[str]) -> DictConfig:
    with _hydra():
        return hydra_compose(ROOT_NAME, overrides)


def _does_not_fit(error: Exception) -> DalError:
    return DalError(f"overrides: expected a configuration that fits together, got: {first_line(error)}.")


def _hydra() -> Any:
    register()
    GlobalHydra.instance().clear()
    return initialize_config_dir(version_base="1.3", config_dir=str(config_folder()), job_name="dal")


def _is_value(override: Override) -> bool:
    """Return whether an override sets a value of the run."""
    key = override.key_or_group
    return key not in GROUPS and key.partition(".")[0] != "hydra" and "/" not in key


def _explain(groups: list[str], values: Sequence[tuple[Override, str]]) -> None:
    """Raise DalError for the first override that is invalid by itself."""
    chosen = _compose(groups)
    for override, text in values:
        if not override.is_add() and not override.is_force_add():
            _check_key(chosen, override.key_or_group)
        _check_type(groups, override.key_or_group, text)


def _check_key(config: DictConfig, key: str) -> None:
    node: Any = config
    walked: list[str] = []
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            names = [str(k) for k in node] if isinstance(node, DictConfig) else []
            names += ["experiment"] if not walked else []
            where = ".".join(walked) or "overrides"
            if not names and isinstance(node, DictConfig):
                raise DalError(f"{where}: expected +{key}=VALUE, which adds a key, got {key!r} without +.")
            if not names:
                raise DalError(f"{where}: expected {where}=VALUE, got {key!r}. {where} has no nested keys.")
            if where == "trainer":
                raise DalError(f"{unknown_choice(where, names, part)} Add Lightning's other options with +{key}=VALUE.")
            raise unknown_choice(where, names, part)
        node = None if OmegaConf.is_missing(node, part) else node._get_node(part)
        if not isinstance(node, DictConfig):
            node = node if node is None else node._value()
        walked.append(part)


def _check_type(groups: list[str], key: str, text: str) -> None:
    try:
        _hydra_compose([*groups, text])
    except _COMPOSITION_ERRORS as error:
        cause = error.__cause__ or error
        why, got = first_line(cause), written(text)
        if text.startswith("+") and "An item is already at" in str(cause):
            raise DalError(
                f"{key}: expected {key}=VALUE without +, because the option exists, got {shortened(text)}."
            ) from error
        if (added := re.match(r"Key '(.+)' is not in struct", why)) is not None:
            raise DalError(f"{key}: expected +{key}.{added[1]}=VALUE, which adds a key, got {got}.") from error
        expected = expected_kind(why)
        if expected is None:
            expected, got = "a value of its type", f"{got} ({why})"
        raise DalError(f"{key}: expected {expected}, got {got}.") from error


def check_launcher_name(name: str) -> None:
    """Raise DalError unless Hydra has a launcher of this name."""
    with _hydra():
        names = GlobalHydra.instance().config_loader().get_group_options("hydra/launcher")
    if name not in names:
        raise unknown_choice("hydra/launcher", names, name)


def _choices(override: Override) -> list[Any]:
    values = swept(override) if override.is_sweep_override() else [override.value()]
    return [value.text if isinstance(value, QuotedString) else value for value in values]


def _texts(override: Override) -> list[str]:
    return list(map(str, _choices(override)))


def _first_value(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    prefix = "++" if override.is_force_add() else "+" if override.is_add() else ""
    if override.is_discrete_sweep():
        values = sweep_values(override)
        if not values:
            raise DalError(f"{override.key_or_group}: expected at least one value, got {value_text(override)}.")
        first = values[0]
    else:  # an interval, for a sweeper that draws from it
        interval: Any = override.value()
        first = str(interval.start)
    return f"{prefix}{override.key_or_group}={first}"
