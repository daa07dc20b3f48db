"""The workloads of benchmarks/speed.py: one module a part, each run in a process of its own."""
