"""Everything that can go wrong, in an order that a seed decides, against a clock that nobody waits for."""
