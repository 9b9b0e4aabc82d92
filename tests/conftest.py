"""What all tests share. One thread in each process (pytest runs two, and sums should not depend on the machine), and GPU
tests only where there is a GPU."""
import os
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded, or it has no effect
os.environ.setdefault("MPLBACKEND", "agg")
import pytest


def why_no_gpu():
    "A sentence, or None where CuPy can use a device."
    try:
        import cupy
        return None if cupy.cuda.runtime.getDeviceCount() else "CuPy finds no CUDA device"
    except Exception as error: return f"no usable CuPy: {type(error).__name__}"


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (why := why_no_gpu()):
        for item in marked: item.add_marker(pytest.mark.skip(reason=why))
