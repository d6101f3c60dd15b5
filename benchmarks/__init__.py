"""Benchmarks of trainworthy against its peers and against the truth; see README.md in this folder."""
