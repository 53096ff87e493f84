"""Explicit vectors for Numba kernels: one traced Python body becomes one intrinsic.

A function decorated with `traced` is called once by Numba's compiler, with values that stand for
the arguments (`Pointer` for an array, `Scalar` for a number, a list for a tuple, a named tuple for
its like), and what it does to them is written down as LLVM instructions. So a kernel of hundreds of
vector operations costs one call to type and lower, where an intrinsic for each operation takes
seconds.

Nothing here carries fast-math flags: LLVM may neither reassociate nor fuse what is written, and
the bits are the same however and whenever it optimises. A fused multiply-add is one because it
says so (`fma`), and it is a product and a sum where the machine has none.

| written | means |
|---|---|
| ``a + b``, ``a - b``, ``a * b``, ``a / b``, ``-a`` | lane by lane; Python numbers are broadcast |
| ``a < b``, ``a <= b``, ``a & b``, ``a | b`` | a mask (vectors), a bit (scalars), or bits (int) |
| ``mask.select(a, b)`` | a where the mask is set, else b |
| ``array.load(i, lanes)``, ``array.store(i, v)`` | lanes from element i on, aligned to an element |
| ``array[i]``, ``array[i] = s`` | one element |
| ``s.spread(lanes)`` | the same in all lanes |
| ``with trace.loop(a, b) as i`` | for i in range(a, b) |
| ``v = trace.variable(x)``, ``v.value`` | something that a loop changes |

Arrays are C-contiguous and indexed as if flat; nothing is checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mdpipe.kernels.simd_target import LANES
from mdpipe.kernels.simd_values import Pointer, Scalar, Trace, Value, Variable, Vector

__all__ = ["LANES", "Pointer", "Scalar", "Trace", "Value", "Variable", "Vector", "traced"]

_NUMBA_KINDS = {
    types.float32: "f32",
    types.float64: "f64",
    types.int8: "i8",
    types.int32: "i32",
    types.uint32: "i32",
    types.int64: "i64",
    types.uint64: "i64",
    types.intp: "i64",
    types.boolean: "bit",
}


def _wrap(trace: Trace, context: Any, of: Any, raw: Any) -> Any:
    if isinstance(of, types.Array):
        if of.layout != "C":
            raise TypeError(f"a traced kernel takes C-contiguous arrays, got {of}")
        data = context.make_array(of)(context, trace.builder, raw).data
        return Pointer(trace, data, _NUMBA_KINDS[of.dtype])
    if isinstance(of, types.BaseTuple):
        items = cgutils.unpack_tuple(trace.builder, raw, len(of))  # type: ignore[no-untyped-call]
        kinds = of.types  # type: ignore[attr-defined]
        values = [_wrap(trace, context, t, item) for t, item in zip(kinds, items, strict=True)]
        named = isinstance(of, types.BaseNamedTuple)
        return of.instance_class(*values) if named else values  # type: ignore[attr-defined]
    if isinstance(of, types.IntegerLiteral):
        of = types.intp
    return Scalar(trace, raw, _NUMBA_KINDS[of])


def traced(body: Callable[..., Any]) -> Any:
    """Make an intrinsic for Numba kernels of a body that is written with the values above.

    Parameters
    ----------
    body : callable
        Takes a `Trace` and what the kernel is called with; returns None or an int64 `Scalar`.
        Annotate ``-> Scalar`` for the latter.

    Returns
    -------
    callable
        To be called in functions compiled by Numba, with positional arguments.
    """
    own = inspect.signature(body)
    answers = own.return_annotation in {Scalar, "Scalar"}

    def definition(typing_context: Any, *arguments: Any) -> Any:  # noqa: ARG001
        def write(context: Any, builder: Any, signature: Any, raws: Any) -> Any:
            trace = Trace(builder)
            wrapped = (
                _wrap(trace, context, of, raw) for of, raw in zip(signature.args, raws, strict=True)
            )
            answer = body(trace, *wrapped)
            return answer.raw if answers else context.get_dummy_value()

        return (types.int64 if answers else types.void)(*arguments), write

    definition.__name__ = definition.__qualname__ = body.__name__
    definition.__doc__ = body.__doc__
    definition.__signature__ = own.replace(  # type: ignore[attr-defined]
        return_annotation=inspect.Signature.empty,
        parameters=[p.replace(annotation=inspect.Parameter.empty) for p in own.parameters.values()],
    )
    return intrinsic(definition)
