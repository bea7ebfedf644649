"""The building around the nodes: its PUE, what a joule costs there, and what it emits."""
