"""Join tokens with joules over windows and boundaries, and answer over HTTP."""
