"""All tables, by their one writer, in one metadata.

:mod:`.tracker`, :mod:`.tls` and :mod:`.metrics`, or ingest: :mod:`.ingest`, :mod:`.contacts`, :mod:`.imports`,
:mod:`.scheduled`, :mod:`.broadcasts`, :mod:`.domains`, :mod:`.unsubscribes`, :mod:`.logs`. Both have tables in
:mod:`.webhooks`, and both write ``suppressions``: ``docs/adr/0035``.
"""
