"""Traced kernels that threads run through their address, and traced functions that they call.

Numba compiles what a parallel loop calls once for itself, once for the loop and once for the
function around it. A kernel of thousands of vector instructions is better compiled once, as a C
function (`SIGNATURE`), which a small parallel loop calls (`run_sweeps`). Its
arguments lie in an array of int64, addresses among them (`Work`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types

from mdpipe.kernels._jit import parallel_jit
from mdpipe.kernels.simd import Pointer, Scalar, Trace, traced
from mdpipe.kernels.simd_values import KINDS

__all__ = ["SIGNATURE", "Work", "run_sweeps", "shared"]


def shared(body: Callable[..., None]) -> Callable[..., None]:
    """Make a traced function that is written down once in a kernel, however often it is called.

    Parameters
    ----------
    body : callable
        Takes a `Trace`, and pointers and scalars or lists of scalars.

    Returns
    -------
    callable
        To be called with the same by other traced bodies.
    """

    def call(trace: Trace, *values: Any) -> None:
        flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
        module = trace.builder.module
        name = f"mdpipe.{body.__module__}.{body.__name__}"
        function = module.globals.get(name)
        if function is None:
            of = ir.FunctionType(ir.VoidType(), [v.raw.type for v in flat])
            function = ir.Function(module, of, name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            builder = ir.IRBuilder(function.append_basic_block("entry"))
            inside = Trace(builder)
            inner = iter(
                type(v)(inside, raw, v.kind) for v, raw in zip(flat, function.args, strict=True)
            )
            body(
                inside,
                *[
                    [next(inner) for _ in value] if isinstance(value, list) else next(inner)
                    for value in values
                ],
            )
            builder.ret_void()
        trace.builder.call(function, [v.raw for v in flat])

    return call


class Work:
    """Arguments by name: numbers, and arrays whose address is passed on.

    Parameters
    ----------
    **kinds : str
        "i64" for a number; an element kind of `mdpipe.kernels.simd` and "*" for an array.

    Attributes
    ----------
    names : dict
        Place and kind of each.
    """

    def __init__(self, **kinds: str) -> None:
        self.names = {name: (place, kind) for place, (name, kind) in enumerate(kinds.items())}

    def read(self, work: Pointer) -> dict[str, Any]:
        """Return the arguments as values of the trace."""
        builder = work.trace.builder
        answer: dict[str, Any] = {}
        for name, (place, kind) in self.names.items():
            value = work[place]
            if kind[-1] == "*":
                raw = builder.inttoptr(value.raw, KINDS[kind[:-1]].as_pointer())
                answer[name] = Pointer(work.trace, raw, kind[:-1])
            else:
                answer[name] = value
        return answer

    def fill(self, work: np.ndarray[Any, Any], **values: Any) -> None:
        """Write arguments into an int64 array; the caller keeps the arrays alive.

        Raises
        ------
        TypeError
            If an array is not C-contiguous or of another kind.
        """
        for name, value in values.items():
            place, kind = self.names[name]
            if kind[-1] != "*":
                work[place] = value
                continue
            told = {"f": "f", "i": "i"}[value.dtype.kind] + str(8 * value.dtype.itemsize)
            if told != kind[:-1] or not value.flags.c_contiguous:
                raise TypeError(f"{name} must be C-contiguous {kind[:-1]}, got {told}")
            work[place] = value.ctypes.data


SIGNATURE = types.void(
    types.int64,
    types.int64,
    types.int64,
    types.CPointer(types.int64),  # type: ignore[no-untyped-call]
)
"""Of a C function of the sweep, the task, the number of tasks, and the arguments."""


@traced
def _call(
    trace: Trace, address: Scalar, sweep: Scalar, task: Scalar, tasks: Scalar, work: Pointer
) -> None:
    number = KINDS["i64"]
    of = ir.FunctionType(ir.VoidType(), [number, number, number, number.as_pointer()])
    function = trace.builder.inttoptr(address.raw, of.as_pointer())
    trace.builder.call(function, [sweep.raw, task.raw, tasks.raw, work.raw])


@parallel_jit()
def run_sweeps(address: int, first: int, sweeps: int, tasks: int, work: Any) -> None:
    """Run the tasks of one sweep after the other; each begins when all of the last are done.

    Parameters
    ----------
    address : int
        Of a C function with `SIGNATURE`.
    first : int
        Sweep to begin with: 0, but for who times them one by one.
    sweeps, tasks : int
        How many there are.
    work : int64 array
        Arguments.
    """
    for sweep in range(first, sweeps):
        for task in numba.prange(tasks):
            _call(address, sweep, np.int64(task), tasks, work)
