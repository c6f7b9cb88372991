"""Use cases: the only place that wires the floors together."""
