"""The HTTP side: endpoints, their errors and their documentation."""
