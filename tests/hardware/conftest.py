"""Tests on a GPU take memory as those of kernels do."""

from tests.cuda_host.on_gpu import choose_allocator

choose_allocator()
