"""A device that runs CUDA kernels on the host, so that a machine without a GPU can check them."""
