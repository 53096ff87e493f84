"""What a traced kernel computes with: numbers, vectors, arrays, loops.

`mdpipe.kernels.simd` tells how they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from mdpipe.kernels.simd_target import FUSED, LANES, X86

__all__ = ["Pointer", "Scalar", "Trace", "Value", "Variable", "Vector"]

KINDS = {
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
    "i8": ir.IntType(8),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
    "bit": ir.IntType(1),
}
"""Kinds of elements: floating point, signed integers, and the bits of a mask."""

SIZES = {"f32": 4, "f64": 8, "i8": 1, "i32": 4, "i64": 8}

_WIDENING = ("bit", "i8", "i32", "i64", "f32", "f64")

_ESTIMATES = {
    4: "llvm.x86.sse.rsqrt.ps" if X86 else "llvm.aarch64.neon.frsqrte.v4f32",
    8: "llvm.x86.avx.rsqrt.ps.256",
    16: "llvm.x86.avx512.rsqrt14.ps.512",
}


class Value:
    """A number or a vector of numbers in the code that is being written.

    Parameters
    ----------
    trace : Trace
        Where instructions go.
    raw : llvmlite.ir.Value
        What LLVM calls it.
    kind : str
        One of `KINDS`.
    lanes : int
        Lanes of a vector; 0 for a number.
    """

    def __init__(self, trace: Trace, raw: Any, kind: str, lanes: int = 0) -> None:
        self.trace = trace
        self.raw = raw
        self.kind = kind
        self.lanes = lanes

    def like(self, raw: Any) -> Any:
        """Make a value of this kind and shape."""
        return type(self)(self.trace, raw, self.kind, self.lanes)

    def matched(self, other: Any) -> Any:
        """Bring an operand to this kind and shape."""
        if not isinstance(other, Value):
            return self.trace.constant(other, self.kind, self.lanes)
        if other.kind != self.kind:
            raise TypeError(f"operands must be of one kind, got {self.kind} and {other.kind}")
        if self.lanes and not other.lanes:
            return other.spread(self.lanes)
        if self.lanes != other.lanes:
            raise TypeError(f"operands must have one width, got {self.lanes} and {other.lanes}")
        return other

    def apply(self, names: tuple[str, str], other: Any, *, swap: bool = False) -> Any:
        """Write one instruction: the first name for floating point, the second for integers."""
        if isinstance(other, Value) and other.lanes and not self.lanes:
            return self.spread(other.lanes).apply(names, other, swap=swap)
        pair = (self.raw, self.matched(other).raw)
        name = names[0] if self.kind[0] == "f" else names[1]
        return self.like(getattr(self.trace.builder, name)(*(pair[::-1] if swap else pair)))

    def __add__(self, other: Any) -> Any:
        return self.apply(("fadd", "add"), other)

    def __sub__(self, other: Any) -> Any:
        return self.apply(("fsub", "sub"), other)

    def __rsub__(self, other: Any) -> Any:
        return self.apply(("fsub", "sub"), other, swap=True)

    def __mul__(self, other: Any) -> Any:
        return self.apply(("fmul", "mul"), other)

    def __truediv__(self, other: Any) -> Any:
        return self.apply(("fdiv", ""), other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.apply(("fdiv", ""), other, swap=True)

    def __and__(self, other: Any) -> Any:
        return self.apply(("", "and_"), other)

    def __or__(self, other: Any) -> Any:
        return self.apply(("", "or_"), other)

    def __lshift__(self, other: Any) -> Any:
        return self.apply(("", "shl"), other)

    def __rshift__(self, other: Any) -> Any:
        return self.apply(("", "ashr"), other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Any:
        builder = self.trace.builder
        return self.like(builder.fneg(self.raw) if self.kind[0] == "f" else builder.neg(self.raw))

    def _compare(self, operator: str, other: Any) -> Any:
        builder = self.trace.builder
        write = builder.fcmp_ordered if self.kind[0] == "f" else builder.icmp_signed
        raw = write(operator, self.raw, self.matched(other).raw)
        return type(self)(self.trace, raw, "bit", self.lanes)

    def __lt__(self, other: Any) -> Any:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Any:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Any:
        return self._compare(">", other)

    def equals(self, other: Any) -> Any:
        """Compare for equality."""
        return self._compare("==", other)

    def select(self, yes: Any, no: Any) -> Any:
        """Take `yes` where this mask is set, else `no` (a value or a Python number)."""
        if not isinstance(no, Value):
            no = yes.matched(no)
        return yes.like(self.trace.builder.select(self.raw, yes.raw, no.raw))

    def _shaped(self, kind: str) -> Any:
        return ir.VectorType(KINDS[kind], self.lanes) if self.lanes else KINDS[kind]

    def to(self, kind: str) -> Any:
        """Convert to another kind; to integers by truncation, to fewer bits by dropping them."""
        floats = (self.kind[0] == "f", kind[0] == "f")
        wider = _WIDENING.index(kind) > _WIDENING.index(self.kind)
        if kind == self.kind:
            return self
        if floats == (False, False):
            name = ("zext" if self.kind == "bit" else "sext") if wider else "trunc"
        elif floats == (True, True):
            name = "fpext" if wider else "fptrunc"
        else:
            name = "fptosi" if floats[0] else "sitofp"
        raw = getattr(self.trace.builder, name)(self.raw, self._shaped(kind))
        return type(self)(self.trace, raw, kind, self.lanes)

    def bits_as(self, kind: str) -> Any:
        """Read the same bits as another kind of the same size."""
        raw = self.trace.builder.bitcast(self.raw, self._shaped(kind))
        return type(self)(self.trace, raw, kind, self.lanes)

    def fma(self, factor: Any, addend: Any) -> Any:
        """Yield self * factor + addend, rounded once where the machine can."""
        if not FUSED:
            return self * factor + addend
        return self.call("llvm.fma", factor, addend)

    def fnma(self, factor: Any, addend: Any) -> Any:
        """Yield addend - self * factor, rounded once where the machine can."""
        return (-self).fma(factor, addend)

    def call(self, name: str, *others: Any) -> Any:
        """Call a function that LLVM knows, on this and others: ``llvm.sqrt``, ``llvm.floor``."""
        raws = [self.raw, *(self.matched(other).raw for other in others)]
        shape = f"v{self.lanes}" if self.lanes else ""
        return self.like(self.trace.external(f"{name}.{shape}{self.kind}", self.raw.type, raws))

    def spread(self, lanes: int) -> Vector:
        """Repeat a number in all lanes of a vector."""
        if self.lanes:
            raise TypeError(f"only a number can be spread to {lanes} lanes, got a vector")
        builder = self.trace.builder
        empty = ir.Constant(ir.VectorType(KINDS[self.kind], lanes), ir.Undefined)
        first = builder.insert_element(empty, self.raw, ir.Constant(KINDS["i32"], 0))
        same = ir.Constant(ir.VectorType(KINDS["i32"], lanes), [0] * lanes)
        return Vector(self.trace, builder.shuffle_vector(first, empty, same), self.kind, lanes)


class Scalar(Value):
    """One number."""


class Vector(Value):
    """Numbers side by side."""

    def shuffle(self, other: Vector, places: Sequence[int]) -> Vector:
        """Pick lanes of this vector (0 to n - 1) and of another (n to 2n - 1)."""
        mask = ir.Constant(ir.VectorType(KINDS["i32"], len(places)), list(places))
        raw = self.trace.builder.shuffle_vector(self.raw, other.raw, mask)
        return Vector(self.trace, raw, self.kind, len(places))

    def part(self, first: int, lanes: int) -> Vector:
        """Take some lanes that lie side by side."""
        return self.shuffle(self, range(first, first + lanes))

    def beside(self, other: Vector) -> Vector:
        """Join two vectors."""
        return self.shuffle(other, range(2 * self.lanes))

    def __getitem__(self, lane: int) -> Scalar:
        raw = self.trace.builder.extract_element(self.raw, ir.Constant(KINDS["i32"], lane))
        return Scalar(self.trace, raw, self.kind)

    def sum(self) -> Scalar:
        """Add the lanes: upper to lower half, again and again."""
        total = self
        while total.lanes > 1:
            half = total.lanes // 2
            total = total.part(0, half) + total.part(half, half)
        return total[0]

    def rsqrt_twice(self) -> Vector:
        """Yield 2/√x of float32, good to 23 bits: the machine's estimate and one Newton step.

        The factor 2 saves a multiplication. Of 0 and of what is beyond float32 it is NaN.
        """
        if self.kind != "f32" or (self.lanes == 8 and not X86):
            return 2.0 / self.call("llvm.sqrt")  # type: ignore[no-any-return]
        y = self._estimate()
        t = self * y
        correction: Vector = t.fnma(y, t.trace.constant(3.0, "f32", t.lanes))
        if not X86:
            # NEON estimates to 8 bits only: one step more.
            y = y * (correction * 0.5)
            correction = (self * y).fnma(y, t.trace.constant(3.0, "f32", t.lanes))
        return y * correction  # type: ignore[no-any-return]

    def _estimate(self) -> Vector:
        width = self.raw.type
        mask = [width(None), ir.IntType(16)(-1)] if self.lanes == 16 else []
        raw = self.trace.external(_ESTIMATES[self.lanes], width, [self.raw, *mask])
        return Vector(self.trace, raw, self.kind, self.lanes)

    def mask_bits(self) -> Scalar:
        """Pack a mask into an integer: lane 0 is the lowest bit."""
        builder = self.trace.builder
        packed = builder.bitcast(self.raw, ir.IntType(self.lanes))
        return Scalar(self.trace, builder.zext(packed, KINDS["i64"]), "i64")

    def pack(self, mask: Vector, array: Pointer, index: Scalar) -> Scalar:
        """Store the lanes that a mask picks, closed up, and yield the index behind them.

        As many elements as there are lanes are written: what lies behind is spoilt.
        """
        trace = self.trace
        if self.lanes == 16 and self.kind == "i32":
            raws = [self.raw, self.raw.type(None), mask.raw]
            name = "llvm.x86.avx512.mask.compress.v16i32"
            raw = trace.external(name, self.raw.type, raws)
            array.store(index, Vector(trace, raw, self.kind, self.lanes))
            count: Scalar = mask.mask_bits().call("llvm.ctpop")
            return index + count  # type: ignore[no-any-return]
        for lane in range(self.lanes):
            array[index] = self[lane]
            index = index + mask[lane].to("i64")
        return index


class Pointer:
    """The elements of an array, or of a scratch on the stack."""

    def __init__(self, trace: Trace, raw: Any, kind: str) -> None:
        self.trace = trace
        self.raw = raw
        self.kind = kind

    def at(self, index: Any) -> Pointer:
        """Point to element `index` of this one."""
        raw = self.trace.builder.gep(self.raw, [self.trace.index(index).raw])
        return Pointer(self.trace, raw, self.kind)

    def load(self, index: Any, lanes: int) -> Vector:
        """Load elements that lie side by side."""
        width = ir.VectorType(KINDS[self.kind], lanes)
        place = self.trace.builder.bitcast(self.at(index).raw, width.as_pointer())
        raw = self.trace.builder.load(place, align=SIZES[self.kind])
        return Vector(self.trace, raw, self.kind, lanes)

    def store(self, index: Any, vector: Vector) -> None:
        """Store lanes side by side."""
        place = self.trace.builder.bitcast(self.at(index).raw, vector.raw.type.as_pointer())
        self.trace.builder.store(vector.raw, place, align=SIZES[self.kind])

    def add(self, index: Any, vector: Vector) -> None:
        """Add lanes to what is there."""
        self.store(index, self.load(index, vector.lanes) + vector)

    def __getitem__(self, index: Any) -> Scalar:
        return Scalar(self.trace, self.trace.builder.load(self.at(index).raw), self.kind)

    def __setitem__(self, index: Any, value: Scalar) -> None:
        self.trace.builder.store(value.raw, self.at(index).raw)


class Variable:
    """A value that loops and branches change; a register once LLVM has optimised."""

    def __init__(self, value: Value) -> None:
        self._like = value
        self._place = cgutils.alloca_once(  # type: ignore[no-untyped-call]
            value.trace.builder, value.raw.type
        )
        self.value = value

    @property
    def value(self) -> Any:
        """The value as it stands."""
        trace = self._like.trace
        return self._like.like(trace.builder.load(self._place))

    @value.setter
    def value(self, value: Value) -> None:
        value.trace.builder.store(value.raw, self._place)


class Trace:
    """Where the traced body writes to."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def constant(self, number: Any, kind: str = "f32", lanes: int = LANES) -> Any:
        """Make a constant: one number, or one for each lane; `lanes` 0 for a scalar."""
        convert = float if kind[0] == "f" else int
        if not lanes:
            return Scalar(self, ir.Constant(KINDS[kind], convert(number)), kind)
        numbers = list(number) if isinstance(number, Sequence) else [number] * lanes
        elements = [ir.Constant(KINDS[kind], convert(x)) for x in numbers]
        return Vector(self, ir.Constant(ir.VectorType(KINDS[kind], lanes), elements), kind, lanes)

    def external(self, name: str, answer: Any, raws: Sequence[Any]) -> Any:
        """Call a function by its name, on what LLVM calls the arguments."""
        of = ir.FunctionType(answer, [raw.type for raw in raws])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            self.builder.module, of, name
        )
        return self.builder.call(function, raws)

    def index(self, index: Any) -> Scalar:
        """Make an int64 of a Python number or of an integer scalar."""
        if isinstance(index, Scalar):
            wide: Scalar = index.to("i64")
            return wide
        answer: Scalar = self.constant(index, "i64", 0)
        return answer

    def variable(self, value: Value) -> Variable:
        """Make something that loops may change."""
        return Variable(value)

    def scratch(self, kind: str, length: int) -> Pointer:
        """Reserve elements on the stack, aligned to a cache line; they hold anything."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(KINDS[kind], size=ir.Constant(KINDS["i64"], length))
            place.align = 64
        return Pointer(self, place, kind)

    @contextmanager
    def loop(self, first: Any, last: Any, step: int = 1) -> Iterator[Scalar]:
        """Repeat for i = first, first + step, … < last."""
        with cgutils.for_range_slice(
            self.builder,
            self.index(first).raw,
            self.index(last).raw,
            ir.Constant(KINDS["i64"], step),
            inc=True,
        ) as (index, _):
            yield Scalar(self, index, "i64")

    @contextmanager
    def when(self, condition: Scalar) -> Iterator[None]:
        """Do something only if a condition holds."""
        with self.builder.if_then(condition.raw):
            yield
