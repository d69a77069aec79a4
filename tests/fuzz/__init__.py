"""Malformed input for every parser of untrusted data.

inputs      what is almost right: documents and bytes with something wrong in them
target      one parser, its inputs, and the errors that it may raise
documents   references, platforms, manifests, indexes, configs
answers     what registries and token endpoints say
host        what the user's machine says: config.json, credential helpers, proxies
files       archives, and what a stopped run leaves
guided      atheris, which looks for inputs by coverage
"""
