"""Number in a JSON document of a device or a service, read over HTTP."""

from perwatt_agent.meters.config import SERVICE_KEYS, PlaceConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.figure import Figure
from perwatt_agent.meters.reading.json_path import steps_of, value_at
from perwatt_agent.meters.reading.json_service import Service
from perwatt_agent.meters.reading.quantity import number


class JsonDocument:
    """Reader of the number at the path of *config* in the document at its URL. Raises ValueError."""

    def __init__(self, config: PlaceConfig) -> None:
        assert config.path is not None, "checked with the configuration"
        self._service = Service(config)
        self._steps = steps_of(config.path)

    async def read(self) -> Figure:
        document = await self._service.document()
        try:
            return Figure(number(value_at(document, self._steps)))
        except LookupError as error:
            raise MeterFailure("malformed", f"{error}; check `path`") from None


ROW = MeterKind(
    name="json",
    rank=12,
    measures="the device or service behind the document",
    boundary="the wall (AC)",
    limits="a document has no time, so that an old number is noticed only by standing still",
    uncertainty_ratio=0.05,
    uncertainty_basis="whatever stands behind a document; set it for the meter that does",
    interval_seconds=5.0,
    needs=("url", "path"),
    takes=SERVICE_KEYS,
    unit="required",
    check_path=steps_of,
    read_figure=lambda config, clock, interval_seconds: JsonDocument(config),
)
