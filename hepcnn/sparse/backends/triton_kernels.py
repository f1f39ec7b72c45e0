"""Triton kernels: implicit matrix products on the neighbour table, which never store what they gather.

Each program makes one tile of the result alone and in one order: there are no atomic additions, and so the same bits
every time. Loops have compile-time bounds, which Triton's interpreter needs too.

Shapes: N input rows, M output rows, I and O channels, K offsets; tiles of BM rows, BI and BO channels.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# Triton reads annotations as they stand, and knows constexpr alone.
import triton
import triton.language as tl


# An n_out of one would turn into a constant, which has no type to cast.
@triton.jit(do_not_specialize=["n_out"])
def convolve_kernel(
    features,
    weight,
    bias,
    table,
    out,
    n_out,
    I: tl.constexpr,  # noqa: E741
    O: tl.constexpr,  # noqa: E741
    K: tl.constexpr,
    BM: tl.constexpr,
    BI: tl.constexpr,
    BO: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
    HAS_BIAS: tl.constexpr,
):
    """(M, O) = bias + sum over k of features[table[k]] @ weight[k]; a row -1 of the table adds nothing."""
    rows = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BO + tl.arange(0, BO)
    inside = rows < n_out
    total = tl.zeros((BM, BO), dtype=tl.float32)
    for k in range(K):
        source = tl.load(table + k * n_out.to(tl.int64) + rows, mask=inside, other=-1)
        # A tile that meets nothing under this offset is the common case at the border of clusters.
        if tl.max(source, axis=0) >= 0:
            for start in range(0, I, BI):
                channels = start + tl.arange(0, BI)
                here = (source[:, None] >= 0) & (channels[None, :] < I)
                a = tl.load(features + source[:, None].to(tl.int64) * I + channels[None, :], mask=here, other=0.0)
                there = (channels[:, None] < I) & (columns[None, :] < O)
                b = tl.load(weight + (k * I + channels[:, None]) * O + columns[None, :], mask=there, other=0.0)
                if UPCAST:
                    a, b = a.to(tl.float32), b.to(tl.float32)
                total = tl.dot(a, b, total, input_precision=PRECISION)
    if HAS_BIAS:
        total += tl.load(bias + columns, mask=columns < O, other=0.0).to(tl.float32)[None, :]
    place = rows[:, None] * O + columns[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside[:, None] & (columns[None, :] < O))


@triton.jit(do_not_specialize=["n_out"])
def correlate_kernel(
    features,
    grad,
    table,
    partial,
    n_out,
    I: tl.constexpr,  # noqa: E741
    O: tl.constexpr,  # noqa: E741
    K: tl.constexpr,
    ROWS: tl.constexpr,
    BM: tl.constexpr,
    BI: tl.constexpr,
    BO: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """(splits, K, I, O): over each run of ROWS outputs, the sum of features[table[k]].T @ grad."""
    k = tl.program_id(0) % K
    split = tl.program_id(0) // K
    channels = tl.program_id(1) * BI + tl.arange(0, BI)
    columns = tl.program_id(2) * BO + tl.arange(0, BO)
    total = tl.zeros((BI, BO), dtype=tl.float32)
    for start in range(0, ROWS, BM):
        rows = split.to(tl.int64) * ROWS + start + tl.arange(0, BM)
        source = tl.load(table + k * n_out.to(tl.int64) + rows, mask=rows < n_out, other=-1)
        if tl.max(source, axis=0) >= 0:
            met = source >= 0
            # Read transposed: (BI, BM).
            a = tl.load(
                features + source[None, :].to(tl.int64) * I + channels[:, None],
                mask=met[None, :] & (channels[:, None] < I),
                other=0.0,
            )
            b = tl.load(
                grad + rows[:, None] * O + columns[None, :], mask=met[:, None] & (columns[None, :] < O), other=0.0
            )
            if UPCAST:
                a, b = a.to(tl.float32), b.to(tl.float32)
            total = tl.dot(a, b, total, input_precision=PRECISION)
    place = (tl.program_id(0).to(tl.int64) * I + channels[:, None]) * O + columns[None, :]
    tl.store(partial + place, total, mask=(channels[:, None] < I) & (columns[None, :] < O))
