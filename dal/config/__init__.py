"""Configuration of a run: dataclasses, the objects they build, command-line overrides."""
