"""HTTP of the fleet simulator."""
