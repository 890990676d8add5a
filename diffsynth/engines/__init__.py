"""Patch-matching engines."""

ENGINES = {"native": "The engine in this process: C++ for any CPU, CUDA where there is a device."}
