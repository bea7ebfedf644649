"""The whole agent: in this process over a fake driver, or as a process of its own."""
