"""Tests that need a GPU, and are collected where there is one."""
