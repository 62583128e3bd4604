"""How fast npsubpix is beside the libraries that do the same: ``python -m benchmarks --help``.

A benchmark is a function in a module ``bench_<family>.py`` under one of the decorators of `registry`:
`contest` for a call beside those of peers, `measurement` for anything else. Every module ``bench_*.py`` of
this folder runs, in the order of the alphabet; `bench_memory`, `bench_small` and `bench_start` measure
calls of several families.
"""
