"""`perwatt doctor`, `check-config`: what can be measured, what is missing, what is misconfigured."""
