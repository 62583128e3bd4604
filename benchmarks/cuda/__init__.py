"""How fast npsubpix is on a GPU: ``python -m benchmarks --backend cuda``.

Every operation that runs on GPUs is a `Case`: first its results are compared with those of the CPU,
then it is timed. A case is in the table of `maps`, `filters` or `measuring`; what it is timed beside,
and what it is meant to reach, is in `rivals`.
"""
