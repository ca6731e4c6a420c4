"""Vector instructions that numba's compiler does not find by itself, written in LLVM's intermediate language.

Each is a function for code that numba compiles. How wide a register is, and how many are used, is the length of a tuple
among the arguments: a constant of the compiled code.
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic
I16, I32, I64 = (ir.IntType(bits) for bits in (16, 32, 64))


@functools.lru_cache
def host_features() -> frozenset[str]:
    """What this CPU can do, by LLVM's names."""
    return frozenset(name for name, there in llvmlite.binding.get_host_cpu_features().items() if there)


def host_lanes() -> int:
    """Floats in a vector register: 16 with AVX-512, 8 with AVX2, otherwise 4 (SSE, NEON)."""
    return 16 if 'avx512f' in host_features() else 8 if 'avx2' in host_features() else 4


def _splat(b: Any, value: Any, lanes: int) -> Any:
    """A vector of one value."""
    kind = ir.VectorType(value.type, lanes)
    first = b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    return b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def _add_rows(weighted: bool) -> Any:
    """An intrinsic: target[to:] = source[at:] + weights[first + channel * width:] of each event begin <= i < end.

    Rows are times the value of the event in the ``weighted`` one. All are ``lanes`` times ``vectors`` wide; weights lie
    where registers are aligned, and it is faster if the sums do.
    """

    @intrinsic
    def add_rows(
        context: Any, channels: Any, values: Any, begin: Any, end: Any, weights: Any, first: Any, source: Any, at: Any,
        target: Any, to: Any, lanes: Any, vectors: Any,
    ) -> Any:  # fmt: skip
        index = types.int64
        signature = types.void(
            channels, values, index, index, weights, index, source, index, target, index, lanes, vectors
        )

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            width, n = len(sig.args[10]), len(sig.args[11])
            vector = ir.VectorType(ir.FloatType(), width)
            channels, values, weights, source, target = (
                context.make_array(sig.args[k])(context, b, args[k]).data for k in (0, 1, 4, 6, 8)
            )
            begin, end = args[2], args[3]
            source = b.bitcast(b.gep(source, [args[7]]), vector.as_pointer())
            target = b.bitcast(b.gep(target, [args[9]]), vector.as_pointer())
            tile = b.gep(weights, [args[5]])

            def load(pointer: Any, k: int, align: int) -> Any:
                value = b.load(b.gep(pointer, [ir.Constant(I64, k)]))
                value.align = align
                return value

            old = [load(source, k, 4) for k in range(n)]
            entry, body, done = b.block, b.append_basic_block('body'), b.append_basic_block('done')
            b.cbranch(b.icmp_signed('<', begin, end), body, done)
            b.position_at_end(body)
            i = b.phi(I64)
            i.add_incoming(begin, entry)
            running = [b.phi(vector) for _ in range(n)]
            for phi, value in zip(running, old):
                phi.add_incoming(value, entry)
            channel = b.zext(b.load(b.gep(channels, [i])), I64)
            row = b.gep(tile, [b.mul(channel, ir.Constant(I64, n * width))])
            row = b.bitcast(row, vector.as_pointer())
            rows = [load(row, k, 4 * width) for k in range(n)]
            if weighted:
                factor = _splat(b, b.load(b.gep(values, [i])), width)
                rows = [b.fmul(value, factor, flags=('contract',)) for value in rows]
            new = [b.fadd(phi, value, flags=('contract',)) for phi, value in zip(running, rows)]
            for phi, value in zip(running, new):
                phi.add_incoming(value, body)
            following = b.add(i, ir.Constant(I64, 1))
            i.add_incoming(following, body)
            b.cbranch(b.icmp_signed('<', following, end), body, done)
            b.position_at_end(done)
            for k, (before, after) in enumerate(zip(old, new)):
                result = b.phi(vector)
                result.add_incoming(before, entry)
                result.add_incoming(after, body)
                old[k] = result
            for k, value in enumerate(old):
                b.store(value, b.gep(target, [ir.Constant(I64, k)])).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return add_rows


add_rows, add_weighted_rows = _add_rows(False), _add_rows(True)


def _call(b: Any, name: str, result: Any, *arguments: Any) -> Any:
    """The result of one of LLVM's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)


def _append(weighted: bool) -> Any:
    """An intrinsic: append x[at:at + lanes] where it is not 0, with channels from ``channel`` on, and their values.

    ``x`` has floats or bytes; there must be places for as many as ``lanes``. It returns their number, and above 32 bits
    whether any is neither 0 nor 1.
    """

    @intrinsic
    def append(
        context: Any, x: Any, at: Any, channel: Any, channels: Any, values: Any, count: Any, lanes: Any
    ) -> Any:  # fmt: skip
        signature = types.int64(x, types.int64, types.int64, channels, values, types.int64, lanes)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            x, channels, values = (context.make_array(sig.args[k])(context, b, args[k]).data for k in (0, 3, 4))
            at, channel, count, width = args[1], b.trunc(args[2], I32), args[5], len(sig.args[6])
            x = b.gep(x, [at])
            floats = sig.args[0].dtype == types.float32
            kind, number = (ir.FloatType(), 1.0) if floats else (ir.IntType(8), 1)
            zero, one = ir.Constant(kind, number * 0), ir.Constant(kind, number)

            def differs(value: Any, other: Any) -> Any:
                return b.fcmp_unordered('!=', value, other) if floats else b.icmp_unsigned('!=', value, other)

            if width == 16:  # AVX-512 closes the gaps within a register
                value = b.load(b.bitcast(x, ir.VectorType(kind, 16).as_pointer()))
                value.align = 4 if floats else 1
                there = differs(value, _splat(b, zero, 16))
                other = b.and_(there, differs(value, _splat(b, one, 16)))
                numbers = ir.VectorType(I32, 16)
                vector = b.add(_splat(b, channel, 16), ir.Constant(numbers, list(range(16))))
                _close(b, 'i32', vector, there, b.gep(channels, [count]))
                if weighted:
                    vector = value if floats else b.uitofp(value, ir.VectorType(ir.FloatType(), 16))
                    _close(b, 'f32', vector, there, b.gep(values, [count]))
                found = b.zext(_call(b, 'llvm.ctpop.i16', I16, b.bitcast(there, I16)), I64)
                return b.or_(found, b.shl(b.zext(b.bitcast(other, I16), I64), ir.Constant(I64, 32)))
            # elsewhere one by one, without a branch: what is not kept is written over by the next
            found, others = ir.Constant(I64, 0), ir.Constant(I64, 0)
            for k in range(width):
                value = b.load(b.gep(x, [ir.Constant(I64, k)]))
                place = b.add(count, found)
                b.store(b.add(channel, ir.Constant(I32, k)), b.gep(channels, [place]))
                if weighted:
                    b.store(value if floats else b.uitofp(value, ir.FloatType()), b.gep(values, [place]))
                there = differs(value, zero)
                other = b.and_(there, differs(value, one))
                found = b.add(found, b.zext(there, I64))
                others = b.or_(others, b.zext(other, I64))
            return b.or_(found, b.shl(others, ir.Constant(I64, 32)))

        return signature, codegen

    return append


def _close(b: Any, name: str, vector: Any, kept: Any, place: Any) -> None:
    """Store what is kept of a register of AVX-512 without gaps; what follows it is written over."""
    closed = _call(
        b, f'llvm.x86.avx512.mask.compress.v16{name}', vector.type, vector, ir.Constant(vector.type, None), kept
    )
    b.store(closed, b.bitcast(place, vector.type.as_pointer())).align = 4


append_events, append_weighted_events = _append(False), _append(True)


@intrinsic
def address(context: Any, array: Any) -> Any:
    """Where an array's values begin."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.ptrtoint(context.make_array(sig.args[0])(context, b, args[0]).data, I64)

    return types.int64(array), codegen
