"""What the stack does as the load grows, by a model of it: which limit is met first, what waits, what it costs."""
