"""Settings from the environment: frozen, typed, and refused at the start with the name of every bad one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

SettingsT = TypeVar("SettingsT", bound=msgspec.Struct)
FILE_SUFFIX: Final = "_FILE"
"""`DATABASE_URL_FILE` names the file that holds `DATABASE_URL`: secrets are mounted as files, which no list of processes shows."""


class SettingsError(Exception):
    """One or more settings cannot be used; the message has a line for each of `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One setting as `docs/CONFIGURATION.md` describes it."""

    variable: str
    required: bool
    default: Any
    description: str


def variable_name(field: str) -> str:
    """The environment variable of a field: `database_url` is read from `DATABASE_URL`."""
    return field.upper()


def load(settings_type: type[SettingsT], environ: Mapping[str, str]) -> SettingsT:
    """Read a settings struct from environment variables.

    Each field comes from the variable of the same name in capitals, or from the file that the variable with `_FILE` behind its name
    names; an empty variable counts as unset. Lists are separated by commas.

    Raises:
        SettingsError: names every variable that is missing or unusable, never its value.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(settings_type):
        try:
            raw = _raw_value(variable_name(field.name), environ)
        except SettingsError as error:
            problems += error.problems
            continue
        if raw == "":
            if field.required:
                problems.append(f"{variable_name(field.name)} is not set: {_description(field.type)}")
            continue
        wants_list = msgspec.inspect.type_info(field.type)
        source: Any = raw
        if isinstance(_unwrapped(wants_list), msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            source = [part.strip() for part in raw.split(",") if part.strip()]
        try:
            values[field.name] = msgspec.convert(source, field.type, strict=False)
        except msgspec.ValidationError as error:
            problems.append(f"{variable_name(field.name)} cannot be used: {error}")
    if problems:
        raise SettingsError(problems)
    try:
        return settings_type(**values)
    except ValueError as error:  # a struct's own __post_init__ checks what no single field can
        raise SettingsError([str(error)]) from error


def describe(settings_type: type[msgspec.Struct]) -> list[SettingDescription]:
    """Every setting of a struct, in its order."""
    return [
        SettingDescription(
            variable=variable_name(field.name),
            required=field.required,
            default=None if field.required else _default(field),
            description=_description(field.type),
        )
        for field in msgspec.structs.fields(settings_type)
    ]


def _raw_value(variable: str, environ: Mapping[str, str]) -> str:
    """What a variable holds, or the file that its sister names; empty when neither is set.

    Raises:
        SettingsError: both are set, or the file holds nothing that can be read.
    """
    value, path = environ.get(variable, ""), environ.get(f"{variable}{FILE_SUFFIX}", "")
    if path == "":
        return value
    if value != "":
        raise SettingsError([f"{variable} and {variable}{FILE_SUFFIX} are both set: keep one of them"])
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError([f"{variable}{FILE_SUFFIX} names a file that cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # its own message quotes what the file holds
        raise SettingsError([f"{variable}{FILE_SUFFIX} names a file that is not text in UTF-8"]) from error
    if text == "":  # a secret that got lost shall not count as one that nobody wanted
        raise SettingsError([f"{variable}{FILE_SUFFIX} names a file that is empty"])
    return text


def _default(field: Any) -> Any:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def _unwrapped(info: Any) -> Any:
    return info.type if isinstance(info, msgspec.inspect.Metadata) else info


def _description(annotation: Any) -> str:
    info = msgspec.inspect.type_info(annotation)
    if isinstance(info, msgspec.inspect.Metadata):
        return str((info.extra_json_schema or {}).get("description", ""))
    return ""
