"""Benchmarks that print ratios measured in one run. Not part of the product."""
