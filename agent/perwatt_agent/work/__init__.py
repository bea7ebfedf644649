"""Work without an engine page: jobs that report it themselves."""
