"""Decisions without I/O: what a request means, whether it may be sent, and how it is cut into parcels."""
