"""All tables, by their one writer, in one metadata.

:mod:`.tracker` and :mod:`.tls`, or ingest: :mod:`.ingest`, :mod:`.contacts`, :mod:`.imports`, :mod:`.scheduled`,
:mod:`.broadcasts`, :mod:`.domains`, :mod:`.unsubscribes`. Both have tables in :mod:`.webhooks`, and both write
``suppressions``: ``docs/adr/0035``.
"""
