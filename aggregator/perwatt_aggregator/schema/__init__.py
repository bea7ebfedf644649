"""Schema of the HTTP API: frozen structs from which JSON and OpenAPI are made."""
