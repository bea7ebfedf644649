"""mistral.rs: recognised by its processes only."""

from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.launch import Launch

MISTRALRS = EngineKind(
    name="mistralrs",
    title="mistral.rs",
    known_from="source",
    counts_at="request_end",
    port=1234,
    paths=(),
    caveats=(
        "It has no page with tokens. A proxy in front of it, or the client, can report those of its answers "
        "to `POST /v1/work` of the agent (see `docs/work.md`).",
    ),
    launch=Launch(
        serves=r"mistralrs serve\b|mistralrs-server\b",
        absence="it has no page with tokens: let a proxy or the client report them to POST /v1/work",
    ),
    recognised_by=frozenset(),
    process_start=(),
)

ROWS = (MISTRALRS,)
