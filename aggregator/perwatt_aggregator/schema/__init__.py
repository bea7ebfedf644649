"""Schema of the HTTP API: frozen structs that define its JSON and its OpenAPI document."""
