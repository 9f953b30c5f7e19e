"""Benchmarks: ``deploy/bench NAME`` runs one. Peers and floors are measured in the same run, interleaved with ours."""
