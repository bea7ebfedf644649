"""Requests and tokens that a simulated engine has served so far, from the same load."""

from math import floor

from msgspec import Struct

from perwatt_agent.gpu.simulated.load import Load

# An 8B model on an H100. With the boards' power this is 4 output tokens a joule at full load; what is
# published for larger models on such boards is 2.7 to 4.1 at the wall (MLPerf Inference v4.1, 8 x H200:
# GPT-J 6B 13,097 tokens/s at 4,775 W, Llama 2 70B 25,262 tokens/s at 6,153 W).
OUTPUT_TOKENS_PER_SECOND_AND_GPU = 2600.0

OUTPUT_TOKENS_PER_REQUEST = 250
PROMPT_COMPUTED_PER_REQUEST = 380
PROMPT_CACHED_PER_REQUEST = 220
REQUEST_SECONDS = 8.0
FIRST_TOKEN_SECONDS = 0.15

_REQUESTS_PER_ABORT = 40
_REQUESTS_PER_LENGTH = 6
_REQUESTS_PER_REJECTION = 150


class Served(Struct, frozen=True):
    """The engine's own accumulations at one instant, since it started."""

    output_tokens: int
    started: int
    stopped: int
    length: int
    rejected: int
    running: int
    kv_cache_ratio: float

    @property
    def finished(self) -> int:
        return self.stopped + self.length

    @property
    def aborted(self) -> int:
        return self.started - self.running - self.finished


class Serving:
    """
    Requests served on *gpus* GPUs under *load*, all of one size.

    Output tokens are the exact integral of the token rate. A request starts with its share of them and
    ends `REQUEST_SECONDS` later; some are aborted, and those have had their tokens all the same.
    """

    def __init__(self, load: Load, gpus: int) -> None:
        self._load = load
        self._output = load.curve(lambda level: level * OUTPUT_TOKENS_PER_SECOND_AND_GPU * gpus)
        self._level = load.curve(float)

    def now(self) -> Served:
        seconds = self._load.elapsed_seconds()
        output_tokens = floor(self._output.integral(seconds))
        ended = self._requests_at(seconds - REQUEST_SECONDS)
        finished = ended - ended // _REQUESTS_PER_ABORT
        length = finished // _REQUESTS_PER_LENGTH
        started = output_tokens // OUTPUT_TOKENS_PER_REQUEST
        return Served(
            output_tokens=output_tokens,
            started=started,
            stopped=finished - length,
            length=length,
            rejected=started // _REQUESTS_PER_REJECTION,
            running=started - ended,
            kv_cache_ratio=self._level.at(seconds),
        )

    def _requests_at(self, seconds: float) -> int:
        return floor(self._output.integral(seconds)) // OUTPUT_TOKENS_PER_REQUEST
