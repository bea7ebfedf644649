"""Other exporters and energy meters: how they are installed and started."""
