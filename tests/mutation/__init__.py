"""Mutation testing: the code is changed in small ways, and the tests must notice."""
