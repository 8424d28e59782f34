"""Generates files of this repository, and its documentation as a site."""
