"""Imports of contacts from CSV, all that needs no I/O: from the octets of an upload to rows and back to a report.

In the order of the journey: :mod:`.encoding` (octets to UTF-8, while they come in), :mod:`.head` (delimiter, columns,
first rows), :mod:`.columns` (what each column is), :mod:`.request` (what the caller asked for), :mod:`.records` (the
stored text into records), :mod:`.rows` (a record into a contact, or why not), :mod:`.report` (what failed, as CSV),
:mod:`.formulas` (its dangerous cells).

What is wrong with the file or the call is a Refusal, what is wrong with a row is a text beside it.
"""
