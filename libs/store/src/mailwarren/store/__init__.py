"""Postgres: tables, engine and migrations, for the services that read or write rows.

Each table has one writer, which its comment names; everyone else only reads. What may fail: any call may raise
one of :data:`.engine.AWAY` while the server is down or restarts. Nothing here retries; the callers do, each in its own
way.

:mod:`.engine` connects, :mod:`.tables` describes, :mod:`.migrate` brings a database up to date, :mod:`.states` has
the words of their columns.
"""
