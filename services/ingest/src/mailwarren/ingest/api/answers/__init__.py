"""What the API answers, a module for each resource: msgspec Structs, of which the OpenAPI document is made too.

Fields of the public API keep its names and types; ours are said to be ours.
"""
