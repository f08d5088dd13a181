"""Replaces references such as ``${seed}`` in a configuration by their values."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dal.config.values.booleans import check_references
from dal.config.values.home import expand_home
from dal.errors import DalError, reason, shortened

# OmegaConf and Hydra raise Python's own errors for some values.
VALUE_ERRORS = (OmegaConfBaseException, ValueError, TypeError, ArithmeticError, RecursionError)


def resolve(config: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain dicts, with references resolved.

    Raises DalError, with the key, if a value is missing or has the wrong type.

    >>> resolve(OmegaConf.create({"seed": 3, "run_dir": "runs/${seed}"}))
    {'seed': 3, 'run_dir': 'runs/3'}
    """
    try:
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except RecursionError as error:
        raise DalError("overrides: expected references without cycles, got some that refer to one another.") from error
    except VALUE_ERRORS as error:
        key = getattr(error, "full_key", None) or "overrides"
        got = f"{_text(config, key)} ({first_line(error)})"
        raise DalError(f"{key}: expected a defined value of the right type, got {got}.") from error
    check_references(config)
    assert isinstance(resolved, dict)
    made = {str(key): value for key, value in resolved.items()}
    return made | expand_home({key: made[key] for key in ("run_dir",) if key in made})


def _text(config: DictConfig, key: str) -> str:
    """Return the value of a key as it was written."""
    node: Any = config
    for part in str(key).split("."):
        node = node._get_node(part) if isinstance(node, DictConfig) else None
    written = getattr(node, "_value", lambda: None)()
    return shortened(written) if isinstance(written, str) else "nothing"


def first_line(error: BaseException) -> str:
    """Return the first line of a message of OmegaConf, which the key and the types follow."""
    line = str(error).strip().partition("\n")[0]
    return reason(ValueError(line) if line else error)
