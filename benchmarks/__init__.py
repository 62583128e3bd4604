"""How fast npsubpix is beside the libraries that do the same: ``python -m benchmarks --help``.

A benchmark is a function in a module ``bench_*.py`` under one of the decorators of `registry`:
`contest` for a call beside those of peers, `measurement` for anything else.
"""
