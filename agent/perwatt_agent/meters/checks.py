"""Rules between the keys of a configured meter. Each problem is a key and what was expected there."""

from collections.abc import Iterator, Sequence

from perwatt_agent.configfile.loading import IsValid
from perwatt_agent.configfile.settings import join, settings_of
from perwatt_agent.meters.catalog import METERS, configured_kinds, source_labels
from perwatt_agent.meters.config import SERVICE_KEYS, MeterConfig, MetersConfig, PlaceConfig
from perwatt_agent.meters.kind import MeterKind

_KEYS_OF_SOME_KINDS = ("url", "query", "path", "file", "time_column", *SERVICE_KEYS)


def check_place(
    config: PlaceConfig, path: str, is_valid: IsValid, kinds: Sequence[MeterKind] = METERS
) -> Iterator[tuple[str, str]]:
    """Yield the problems of the place at *path* of its file."""
    known = configured_kinds(kinds)
    if config.kind not in known:
        yield join(path, "kind"), f"expected one of {', '.join(known)}, not {config.kind!r}"
        return
    kind = known[config.kind]
    for setting in settings_of(PlaceConfig):
        where = join(path, setting.name)
        given = getattr(config, setting.name) != setting.default
        if setting.name in kind.needs and not given and is_valid(where):
            yield where, f"expected, but it is missing: kind {kind.name} requires it"
        elif given and setting.name in _KEYS_OF_SOME_KINDS and setting.name not in kind.needs + kind.takes:
            yield where, f"expected nothing: kind {kind.name} does not use it"
    yield from _check_service(config, kind, path)
    try:
        if kind.check_path is not None and config.path is not None:
            kind.check_path(config.path)
    except ValueError as error:
        yield join(path, "path"), f"expected {error}, not {config.path!r}"


def check_meter(
    config: MeterConfig, path: str, is_valid: IsValid, kinds: Sequence[MeterKind] = METERS
) -> Iterator[tuple[str, str]]:
    """Yield the problems of the meter at *path* of its file."""
    yield from check_place(config, path, is_valid, kinds)
    if config.source is not None and config.source not in (labels := source_labels(kinds)):
        yield join(path, "source"), f"expected one of {', '.join(labels)}, not {config.source!r}"
    kind = configured_kinds(kinds).get(config.kind)
    where = join(path, "unit")
    if kind is not None and kind.unit == "fixed" and config.unit is not None:
        yield where, f"expected nothing: a meter of kind {kind.name} reports its unit"
    if kind is not None and kind.unit == "required" and config.unit is None and is_valid(where):
        yield where, "expected watts, kilowatts, joules, watt_hours or kilowatt_hours"


def check_meters(config: MetersConfig, is_valid: IsValid, path: str = "meters") -> Iterator[tuple[str, str]]:
    """Yield the problems of the meters of one agent."""
    labels: set[str] = set()
    for index, meter in enumerate(config.list):
        where = f"{path}.list[{index}]"
        yield from check_meter(meter, where, is_valid)
        if meter.label in labels:
            yield join(where, "name"), f"expected an unused name; {meter.label!r} is taken"
        labels.add(meter.label)


def _check_service(config: PlaceConfig, kind: MeterKind, path: str) -> Iterator[tuple[str, str]]:
    """Certificates need TLS, and a request has one identity only."""
    secure = config.url is None or config.url.startswith("https://")
    if kind.is_https_only and not secure:
        yield join(path, "url"), f"expected an https:// URL, because kind {kind.name} requires verified TLS"
    elif config.ca_file and not secure:
        yield join(path, "ca_file"), "expected nothing: the URL is not an https:// URL"
    if config.credentials_file and config.bearer_token_file:
        yield join(path, "bearer_token_file"), "expected nothing beside credentials_file"
