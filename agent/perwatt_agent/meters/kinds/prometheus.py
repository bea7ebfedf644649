"""Result of a query to a Prometheus server, or to any server with its HTTP API."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from perwatt_agent.meters.config import SERVICE_KEYS, PlaceConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.figure import VALID_PERIODS, Figure
from perwatt_agent.meters.reading.json_service import Service
from perwatt_agent.meters.reading.quantity import number, shown

QUERY_REMARK = "PromQL info:"


class PromQuery:
    """
    Reader that evaluates the query of *config*; the result must be one series or a scalar.

    An answer has the instant of evaluation, not of measurement. So the age of a plain series is queried as
    well, and the server gets the limit *lookback_seconds* for the age of samples (Prometheus' default is 5
    minutes), which also applies to results computed from several series. Raises ValueError for a bad URL.
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
            # Its instant is that of evaluation: the same one again is an answer from a cache.
            return Figure(number(_at(result, 1)), mark=number(_at(result, 0)))
        evaluated, text = _one_sample(kind, result)
        measured = await self._measured(evaluated)
        # A sample of the future has no age, and stays the same reading until it is replaced.
        return Figure(number(text), evaluated - min(evaluated, measured), measured)

    async def _measured(self, evaluated: float) -> float:
        """Return when the sample evaluated at *evaluated* was measured, by the server's clock."""
        kind, result = await self._ask(f"timestamp({self._query}\n)", evaluated)
        return number(_one_sample(kind, result)[1])

    async def _ask(self, query: str, at: float | None = None) -> tuple[str, Any]:
        parameters = {"query": query, "lookback_delta": self._lookback}
        if at is not None:
            parameters["time"] = f"{at:.3f}"
        answer = await self._service.document(f"{self._path}?{urlencode(parameters)}")
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or not isinstance(kind := data.get("resultType"), str):
            raise MeterFailure("malformed", "the answer is not one of a Prometheus server; check `url`")
        _refuse_partial(answer)
        return kind, data.get("result")


def _refuse_partial(answer: Mapping[str, Any]) -> None:
    """Raise MeterFailure if the server had only a part of the data: a sum over a part is too small."""
    given = answer.get("warnings")
    warnings = [str(one) for one in given] if isinstance(given, list) else []
    # Some servers put remarks about the query among the warnings.
    serious = [one for one in warnings if not one.startswith(QUERY_REMARK)]
    if serious or answer.get("isPartial"):
        what = shown(serious[0]) if serious else "isPartial"
        raise MeterFailure(
            "refused", f"the server answered from a part of its data ({what}); check its stores"
        )


def _one_sample(kind: str, result: Any) -> tuple[float, Any]:
    """Return the instant of evaluation and the value of an instant vector of one series."""
    if kind != "vector" or not isinstance(result, list):
        raise MeterFailure(
            "refused", f"the result of the query is a {shown(kind)}; change `query` to one instant value"
        )
    if not result:
        raise MeterFailure(
            "stale",
            "the query has no series with a recent sample; check that Prometheus scrapes its exporter",
        )
    if len(result) > 1:
        raise MeterFailure(
            "refused", f"the query has {len(result)} series, not one; filter it by labels, or sum() it"
        )
    sample = result[0].get("value") if isinstance(result[0], dict) else None
    return number(_at(sample, 0)), _at(sample, 1)


def _at(pair: Any, index: int) -> Any:
    if not isinstance(pair, list) or len(pair) != 2:
        raise MeterFailure(
            "malformed", "a sample is not a pair of time and value; check that `query` is not a histogram"
        )
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
