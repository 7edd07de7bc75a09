"""The keys and values that Meltano Hub accepts in a plugin definition.

Copied from the JSON Schemas in the folder `schemas/plugin_definitions` of the Hub's repository, as
of 2026-11, because the tests must not need the network.
"""

from __future__ import annotations

KEYS = frozenset(
    [
        "capabilities",
        "commands",
        "definition",
        "description",
        "docs",
        "domain_url",
        "executable",
        "hidden",
        "keywords",
        "label",
        "log_parser",
        "logo_url",
        "maintenance_status",
        "name",
        "namespace",
        "next_steps",
        "pip_url",
        "prereq",
        "python",
        "quality",
        "repo",
        "requires",
        "settings",
        "settings_group_validation",
        "settings_preamble",
        "supported_python_versions",
        "usage",
        "variant",
    ]
)
KEYS_OF_KIND = {
    "extractors": frozenset({"metadata", "schema", "select"}),
    "loaders": frozenset({"dialect", "target_schema"}),
}
REQUIRED = frozenset({"name", "namespace", "variant", "label", "quality"})
TEXTS = frozenset(
    [
        "definition",
        "description",
        "docs",
        "domain_url",
        "executable",
        "label",
        "log_parser",
        "name",
        "namespace",
        "next_steps",
        "pip_url",
        "prereq",
        "repo",
        "settings_preamble",
        "usage",
        "variant",
    ]
)
MAINTENANCE_STATUS = frozenset({"active", "beta", "development", "inactive", "unknown"})
QUALITY = frozenset({"gold", "silver", "bronze", "unknown"})
CAPABILITIES = {
    "extractors": frozenset(
        [
            "properties",
            "catalog",
            "discover",
            "state",
            "about",
            "stream-maps",
            "schema-flattening",
            "activate-version",
            "batch",
            "test",
            "log-based",
            "structured-logging",
        ]
    ),
    "loaders": frozenset(
        [
            "about",
            "stream-maps",
            "activate-version",
            "batch",
            "soft-delete",
            "hard-delete",
            "datatype-failsafe",
            "schema-flattening",
            "target-schema",
            "validate-records",
        ]
    ),
}
SETTING_KEYS = frozenset(
    [
        "aliases",
        "description",
        "docs",
        "documentation",
        "env",
        "hidden",
        "kind",
        "label",
        "name",
        "oauth",
        "options",
        "placeholder",
        "sensitive",
        "tooltip",
        "value",
        "value_post_processor",
        "value_processor",
    ]
)
SETTING_KINDS = frozenset(
    [
        "oauth",
        "hidden",
        "password",
        "date_iso8601",
        "file",
        "email",
        "integer",
        "options",
        "object",
        "array",
        "boolean",
        "string",
        "decimal",
    ]
)
