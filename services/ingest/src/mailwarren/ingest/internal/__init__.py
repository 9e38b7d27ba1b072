"""HTTP for our own services, on a port of its own: what a sender needs and does not have in its parcels."""
