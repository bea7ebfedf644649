"""GPU backends: one folder a vendor, behind the Protocol in backend.py."""
