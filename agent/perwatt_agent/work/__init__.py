"""Work that has no engine page: jobs that say themselves what they did."""
