"""Measures Mailwarren and its rivals in the same minute on the same messages.

Everything runs on one machine, the client and the sink too; what each part costs is counted by process. A run in which
anything goes wrong (a mail refused, a process that ended, a mail that never arrived) fails: it gives no figure.
"""
