"""Every history of two deliveries up to a bound: each order, each outcome of each network call, each place to die."""
