"""A number in a Prometheus server, or one that speaks its HTTP API: what a PDU's exporter measured."""

from typing import Any
from urllib.parse import urlencode

from perwatt_agent.meters.config import SERVICE_KEYS, PlaceConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.figure import VALID_PERIODS, Figure
from perwatt_agent.meters.reading.json_service import Service
from perwatt_agent.meters.reading.quantity import number, shown


class PromQuery:
    """
    Evaluate the query of *config* now; it must have exactly one series, or be a scalar.

    An answer bears the instant of its evaluation, not of its measurement. So the age of a plain series is
    asked for as well, and the server is told to take no sample that is older than *lookback_seconds*
    (5 minutes are Prometheus' own default), which holds for what is computed of several series too.
    Raises ValueError for a bad URL.
    """

    def __init__(self, config: PlaceConfig, lookback_seconds: float) -> None:
        assert config.query is not None, "checked with the configuration"
        self._service = Service(config)
        self._path = f"{self._service.path.rstrip('/')}/api/v1/query"
        self._query = config.query
        self._lookback = f"{lookback_seconds:g}s"

    async def read(self) -> Figure:
        kind, result = await self._ask(self._query)
        if kind == "scalar":
            return Figure(number(_at(result, 1)))
        evaluated, text = _one_sample(kind, result)
        measured = await self._measured(evaluated)
        return Figure(number(text), evaluated - measured, measured)

    async def _measured(self, evaluated: float) -> float:
        """When the sample that was taken at *evaluated* was measured, by the server's clock."""
        kind, result = await self._ask(f"timestamp({self._query}\n)", evaluated)
        return min(evaluated, number(_one_sample(kind, result)[1]))

    async def _ask(self, query: str, at: float | None = None) -> tuple[str, Any]:
        parameters = {"query": query, "lookback_delta": self._lookback}
        if at is not None:
            parameters["time"] = f"{at:.3f}"
        answer = await self._service.document(f"{self._path}?{urlencode(parameters)}")
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or not isinstance(kind := data.get("resultType"), str):
            raise MeterFailure(
                "malformed", "the answer is not that of a Prometheus server; is the URL one's?"
            )
        return kind, data.get("result")


def _one_sample(kind: str, result: Any) -> tuple[float, Any]:
    """The instant of evaluation and the value of an instant vector of one series."""
    if kind != "vector" or not isinstance(result, list):
        raise MeterFailure("refused", f"the query gives a {shown(kind)}; ask for one instant value")
    if not result:
        raise MeterFailure("stale", "the query has no series with a fresh sample; is its exporter scraped?")
    if len(result) > 1:
        raise MeterFailure(
            "refused", f"the query has {len(result)} series, not one: filter it by labels, or sum() it"
        )
    sample = result[0].get("value") if isinstance(result[0], dict) else None
    return number(_at(sample, 0)), _at(sample, 1)


def _at(pair: Any, index: int) -> Any:
    if not isinstance(pair, list) or len(pair) != 2:
        raise MeterFailure("malformed", "a sample is not a pair of time and value; is it a histogram?")
    return pair[index]


ROW = MeterKind(
    name="prometheus",
    rank=11,
    measures="what the query selects, such as the outlets of a PDU",
    boundary="the wall (AC)",
    limits="kVA is not kW; a PDU shows one power at up to three levels; a node can have two feeds",
    uncertainty_ratio=0.05,
    uncertainty_basis="whatever stands behind a query; set it for the meter that does",
    interval_seconds=30.0,
    needs=("url", "query"),
    takes=SERVICE_KEYS,
    unit="required",
    read_figure=lambda config, clock, interval_seconds: PromQuery(config, VALID_PERIODS * interval_seconds),
)
