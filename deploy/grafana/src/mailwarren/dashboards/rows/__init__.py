"""Rows that are long enough for a module of their own; the boards say where they stand."""
