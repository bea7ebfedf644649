"""Ollama: recognised by its processes only."""

from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.launch import Launch

OLLAMA = EngineKind(
    name="ollama",
    title="Ollama",
    known_from="source",
    counts_at="request_end",
    port=11434,
    paths=(),
    caveats=(
        "It has no page with tokens (its issue 3144). Its answers have them (`eval_count`, "
        "`prompt_eval_count`), so who receives these can report them: a proxy in front of it, or the client, "
        "adds them up and sends the sum to `POST /v1/work` of the agent (see `docs/work.md`).",
        "A build with the page of its pull request 18508 (`OLLAMA_METRICS`) is described under "
        "`engines.kinds`, with the names that its page has and a name of its own, such as `my-ollama`.",
    ),
    launch=Launch(
        serves=r"ollama (runner|serve)\b|ollama_llama_server\b",
        absence="it has no page with tokens today: docs/engines.md names the ways to count them",
    ),
    recognised_by=frozenset(),
    process_start=(),
)

ROWS = (OLLAMA,)
