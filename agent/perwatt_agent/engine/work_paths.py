"""Paths at which an engine's HTTP server accepts work; not its health checks and lists of models."""

WORK_PATHS = frozenset(
    {
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/generate",
        "/pooling",
        "/score",
        "/rerank",
    }
)
