"""Model of a Grafana dashboard: the few shapes that perwatt uses, and their JSON."""

from typing import Any, Literal

from msgspec import Struct

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GRID_COLUMNS = 24
SCHEMA_VERSION = 41  # Grafana 11.6; later ones migrate it when they load it

Json = dict[str, Any]


class Target(Struct, frozen=True):
    """One query and the name of its lines."""

    expression: str
    legend: str = ""


class Step(Struct, frozen=True):
    """Colour from `value` upwards; a text replaces the number at exactly that value."""

    value: float
    color: str
    text: str = ""


class Panel(Struct, frozen=True):
    """One panel: `unit` is Grafana's unit id; `width` counts columns of 24."""

    title: str
    description: str
    unit: str
    targets: tuple[Target, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 12
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None
    steps: tuple[Step, ...] = ()


class Row(Struct, frozen=True):
    """A titled row of panels of one height; they wrap at the grid's width."""

    title: str
    panels: tuple[Panel, ...]
    height: int = 8


class Variable(Struct, frozen=True):
    """Selection of label values; several may be selected, and "All" matches every series with the label."""

    name: str
    label: str
    query: str


def dashboard(
    uid: str, title: str, description: str, variables: tuple[Variable, ...], rows: tuple[Row, ...]
) -> Json:
    """Read-only dashboard; its data source is a variable, which suits any Grafana."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["perwatt"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource_variable(), *map(_query_variable, variables)]},
        "panels": _panels(rows),
    }


def _datasource_variable() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _query_variable(variable: Variable) -> Json:
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,  # when the time range changes
        "sort": 1,
    }


def _panels(rows: tuple[Row, ...]) -> list[Json]:
    panels: list[Json] = []
    y = 0
    for row in rows:
        panels.append(_row(row, identifier=len(panels) + 1, y=y))
        y += 1
        x = 0
        for panel in row.panels:
            if x + panel.width > GRID_COLUMNS:
                x, y = 0, y + row.height
            position = {"x": x, "y": y, "w": panel.width, "h": row.height}
            panels.append({"id": len(panels) + 1, "gridPos": position, **_panel(panel)})
            x += panel.width
        y += row.height
    return panels


def _row(row: Row, identifier: int, y: int) -> Json:
    position = {"x": 0, "y": y, "w": GRID_COLUMNS, "h": 1}
    return {
        "id": identifier,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": position,
        "panels": [],
    }


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": [_target(panel, target, chr(ord("A") + n)) for n, target in enumerate(panel.targets)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _stat_options(panel) if panel.kind == "stat" else _timeseries_options(),
    }


def _target(panel: Panel, target: Target, reference: str) -> Json:
    return {
        "refId": reference,
        "datasource": DATASOURCE,
        "expr": target.expression,
        "legendFormat": target.legend or "__auto",
        "instant": panel.kind == "stat",
        "range": panel.kind != "stat",
    }


def _defaults(panel: Panel) -> Json:
    """A panel with steps is coloured by them; absent data stay a gap, never a zero."""
    defaults: Json = {"unit": panel.unit}
    defaults |= {} if panel.minimum is None else {"min": panel.minimum}
    defaults |= {} if panel.maximum is None else {"max": panel.maximum}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 8,
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
        return defaults
    steps = panel.steps or (Step(0, "blue"),)
    defaults["color"] = {"mode": "thresholds"}
    defaults["thresholds"] = {
        "mode": "absolute",
        "steps": [{"value": step.value if n else None, "color": step.color} for n, step in enumerate(steps)],
    }
    texts = {f"{step.value:g}": {"text": step.text} for step in steps if step.text}
    defaults["mappings"] = [{"type": "value", "options": texts}] if texts else []
    return defaults


def _stat_options(panel: Panel) -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background" if panel.steps else "value",
        "graphMode": "none",
    }


def _timeseries_options() -> Json:
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
