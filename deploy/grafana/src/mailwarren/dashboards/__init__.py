"""Mailwarren's Grafana dashboards, as code: ``make dashboards`` writes ``deploy/grafana/dashboards/*.json``.

One module a board in :mod:`.boards`; :mod:`.queries` has the selectors that all share, :mod:`.panels` the kinds of
panel, :mod:`.palette` the colours of lanes and states, :mod:`.board` puts rows, variables and links together.

A panel does not come without a sentence on what it shows and one on what to do when it looks bad. Nothing here talks
to a server. What can fail is the data: a query that no longer finds its metric is found by ``tests/monitoring``, which
runs each of them, and again after every change, against a Prometheus that scrapes the real system.
"""
