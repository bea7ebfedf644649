"""HTTP interface: the API, its OpenAPI document, the metrics page and the page at `/`."""
