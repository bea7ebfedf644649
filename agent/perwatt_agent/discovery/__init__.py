"""Discovery of engines: from the processes or pods on the GPUs to their metrics pages."""
