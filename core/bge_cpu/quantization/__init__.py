"""Float -> INT8: the arithmetic, the cache of built artifacts, and the gate that each has to pass."""
