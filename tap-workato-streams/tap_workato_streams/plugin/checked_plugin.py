"""A plugin that checks all its settings before anything else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import PluginBase, _ConfigInput
from typing_extensions import override

from .config_check import problems, unknown_settings
from .input_files import read_config
from .setting_types import typed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click


class CheckedPlugin(PluginBase):
    """A plugin that parses and validates its settings itself.

    The SDK has no public hook that runs before discovery. Its own validation fails for an empty
    environment variable where a number is expected, is limited to JSON Schema, and shows secrets.
    """

    @classmethod
    def own_problems(cls, config: Mapping[str, Any]) -> list[str]:
        """Yield a line for each problem with the settings that only this plugin has.

        Args:
            config: The settings, with their defaults; values may have a wrong type.
        """
        raise NotImplementedError

    @classmethod
    @override
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        """Read the config files, of which later ones override earlier ones."""
        config: dict[str, Any] = {}
        for path in value:
            if path != "ENV":
                config |= read_config(path)
        return _ConfigInput(config=config, parse_env="ENV" in value)

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a classproperty
        """The settings in the environment, as text."""
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        texts = {name: {"type": "string"} for name in schema["properties"]}
        return parse_environment_config({"properties": texts}, cls._env_var_prefix)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Convert the settings to their types, add defaults, and report all problems together."""
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        for line in unknown_settings(self._config, schema):
            self.logger.warning("%s", line)
        self._config = typed(self._config, schema)
        errors = [*problems(self._config, schema), *self.own_problems(self._config)]
        if errors and raise_errors:
            raise ConfigValidationError("invalid settings", errors=errors, schema=schema)
        return errors
