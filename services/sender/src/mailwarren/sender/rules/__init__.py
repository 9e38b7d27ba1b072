"""Shaping and reply rules: data files of ours, an operator's laid over them, reloaded while mail flows.

A file that cannot be obeyed is refused as a whole, with every reason on one line: at the start the sender does not
start; later the rules in force stay, the log says why, and the file is looked at again each time that it changes.
"""
