"""Benchmarks: dockersave beside its peers and beside the least that could be done."""
