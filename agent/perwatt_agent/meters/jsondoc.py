"""A number in a JSON document that some device or service shows over HTTP."""

from perwatt_agent.meters.config import PlaceConfig
from perwatt_agent.meters.figure import Figure
from perwatt_agent.meters.jsonpath import steps_of, value_at
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.quantity import number
from perwatt_agent.meters.service import Service


class JsonDocument:
    """Read the number at the path of *config* in the document at its URL. Raises ValueError for a bad URL."""

    def __init__(self, config: PlaceConfig) -> None:
        assert config.path is not None, "checked with the configuration"
        self._service = Service(config)
        self._steps = steps_of(config.path)

    async def read(self) -> Figure:
        document = await self._service.document()
        try:
            return Figure(number(value_at(document, self._steps)))
        except LookupError as error:
            raise MeterFailure("malformed", f"{error}; does `path` name what the document holds?") from None
