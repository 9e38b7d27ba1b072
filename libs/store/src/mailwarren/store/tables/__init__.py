"""All tables, by their one writer: :mod:`.tracker`, or ingest (:mod:`.ingest`, :mod:`.contacts`). One metadata."""
