"""Locust's users, shapes and hooks. Only Locust imports this: importing Locust patches the whole process for gevent.

What is decided, and not done, is in :mod:`mailwarren.load`, which has tests without Locust.
"""
