"""Find the engines of this machine: from the processes on its GPUs to their metrics pages."""
