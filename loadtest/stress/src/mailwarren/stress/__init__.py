"""Stress curves: how long mails take, how many a minute, what share fails, and where the bottleneck is.

A grid of cells, each one load on a system of real processes: senders, queues, reply latency and refusals grow, the
mails stay the same; the rivals of the bench get the same loads. A cell counts only when its ledger agrees. Every
number of the report, its sentences included, is computed from the cells' files.
"""
