"""All tables, by their one writer: :mod:`.tracker` and :mod:`.ingest`. They share :mod:`mailwarren.store.metadata`."""
