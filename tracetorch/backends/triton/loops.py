"""The loop over time, written once for any tuple of stages, in both directions.

A composition is a constexpr tuple (stages, write order, read order, uses): each stage is (forward, backward,
states read, states written, parameters, conf), all by index. Every state is read once and written once in a
step; `write order` and `read order` bring what the stages return, one after the other, into the order of the
states, and `uses` says for each parameter which of the returned cotangents are its own.

Time runs in segments of STEPS rows, whose loads are all in flight together; what is left over at the end runs
row by row. Forward saves the states at the start of each segment, backward recomputes the states inside it,
which stay in registers. Nothing else is kept, and a lane never reads what another lane wrote.
"""

import triton
import triton.language as tl


@triton.jit
def pick(values, index: tl.constexpr):
    """(values[i] for i in index)"""
    out = ()
    for j in tl.static_range(len(index)):
        out = out + (values[index[j]],)
    return out


@triton.jit
def add_uses(values, uses: tl.constexpr):
    """(sum of values[i] for i in use, for use in uses)"""
    out = ()
    for k in tl.static_range(len(uses)):
        value = values[uses[k][0]]
        for j in tl.static_range(1, len(uses[k])):
            value = value + values[uses[k][j]]
        out = out + (value,)
    return out


@triton.jit
def add(a, b):
    out = ()
    for j in tl.static_range(len(a)):
        out = out + (a[j] + b[j],)
    return out


@triton.jit
def constants(values: tl.constexpr, BLOCK: tl.constexpr, COMPUTE: tl.constexpr):
    out = ()
    for j in tl.static_range(len(values)):
        out = out + (tl.full((BLOCK,), values[j], COMPUTE),)
    return out


@triton.jit
def load_or(pointers, values: tl.constexpr, offset, mask, BLOCK: tl.constexpr, COMPUTE: tl.constexpr):
    """What each pointer holds, the constant where a pointer is None."""
    out = ()
    for j in tl.static_range(len(pointers)):
        if pointers[j] is None:
            out = out + (tl.full((BLOCK,), values[j], COMPUTE),)
        else:
            out = out + (tl.load(pointers[j] + offset, mask=mask, other=0.0).to(COMPUTE),)
    return out


@triton.jit
def load_parameters(pointers, ranks: tl.constexpr, neuron, mask):
    out = ()
    for j in tl.static_range(len(pointers)):
        if ranks[j] == 0:
            out = out + (tl.load(pointers[j]),)
        else:
            out = out + (tl.load(pointers[j] + neuron, mask=mask, other=0.0),)
    return out


@triton.jit
def load_rows(pointer, t, stride, lane, mask, STEPS: tl.constexpr, COMPUTE: tl.constexpr):
    """Rows t, t + 1, ... of one tensor; zeros where there is none."""
    out = ()
    for k in tl.static_range(STEPS):
        if pointer is None:
            out = out + (tl.zeros(lane.shape, COMPUTE),)
        else:
            row = tl.load(pointer + (t + k) * stride + lane, mask=mask, other=0.0)
            out = out + (row.to(COMPUTE),)
    return out


@triton.jit
def load_row(pointers, t, stride, lane, mask, COMPUTE: tl.constexpr):
    """Row t of several tensors; zeros where there is none."""
    out = ()
    for j in tl.static_range(len(pointers)):
        out = out + load_rows(pointers[j], t, stride, lane, mask, 1, COMPUTE)
    return out


@triton.jit
def store_each(pointers, offset, values, mask):
    for j in tl.static_range(len(pointers)):
        if pointers[j] is not None:
            tl.store(pointers[j] + offset, values[j], mask=mask)


@triton.jit
def save(pointer, row, S, lane, values, mask):
    """Write the states as checkpoint `row`; the first segment starts from the start states, so it has none."""
    n: tl.constexpr = len(values)
    for j in tl.static_range(n):
        tl.store(pointer + ((row - 1) * n + j) * S + lane, values[j], mask=tl.where(row > 0, mask, False))


@triton.jit
def restore(pointer, row, S, lane, start, mask):
    n: tl.constexpr = len(start)
    out = ()
    for j in tl.static_range(n):
        saved = tl.load(pointer + ((row - 1) * n + j) * S + lane, mask=tl.where(row > 0, mask, False), other=0.0)
        out = out + (tl.where(row > 0, saved, start[j]),)
    return out


@triton.jit
def key(rng, t, RANDOM: tl.constexpr):
    """The random numbers of step t."""
    if RANDOM:
        out = (rng[0], rng[1] + t, rng[2], rng[3])
    else:
        out = ()
    return out


@triton.jit
def load_key(pointer, lane, RANDOM: tl.constexpr):
    """(seed, position of the first step, low and high word of the element's index)"""
    if RANDOM:
        out = (tl.load(pointer), tl.load(pointer + 1), lane.to(tl.uint32), (lane >> 32).to(tl.uint32))
    else:
        out = ()
    return out


@triton.jit
def step_forward(x, old, par, rng, C: tl.constexpr):
    """One step: (the last wire, new states)."""
    wire, made = (x,), ()
    for i in tl.static_range(len(C[0])):
        wire, new = C[0][i][0](wire, pick(old, C[0][i][2]), pick(par, C[0][i][4]), rng, C[0][i][5])
        made = made + new
    return wire, pick(made, C[1])


@triton.jit
def step_backward(gwire, gnew, x, old, par, rng, C: tl.constexpr):
    """One step: the cotangents of x, of the old states and of the parameters."""
    wire, wires = (x,), ((x,),)
    for i in tl.static_range(len(C[0]) - 1):
        wire, _new = C[0][i][0](wire, pick(old, C[0][i][2]), pick(par, C[0][i][4]), rng, C[0][i][5])
        wires = wires + (wire,)
    greads, guses = (), ()
    for i in tl.static_range(len(C[0]) - 1, -1, -1):
        gwire, gread, guse = C[0][i][1](
            gwire, pick(gnew, C[0][i][3]), wires[i], pick(old, C[0][i][2]), pick(par, C[0][i][4]), rng, C[0][i][5]
        )
        greads, guses = gread + greads, guse + guses
    return gwire[0], pick(greads, C[2]), add_uses(guses, C[3])


@triton.jit
def segment_forward(rows, state, par, rng, y, traces, t, S, lane, mask,
                    C: tl.constexpr, RANDOM: tl.constexpr):
    """Run the steps of `rows`, the first of which is t."""
    for k in tl.static_range(len(rows)):
        wire, state = step_forward(rows[k], state, par, key(rng, t + k, RANDOM), C)
        tl.store(y + (t + k) * S + lane, wire[0].to(y.dtype.element_ty), mask=mask)
        store_each(traces, (t + k) * S + lane, wire[1:], mask)
    return state


@triton.jit
def segment_backward(state, rows, grows, gtraces, gstate, gpar, par, rng, gx, t, S, gt_stride, lane, mask,
                     C: tl.constexpr, RANDOM: tl.constexpr, COMPUTE: tl.constexpr):
    """Recompute the states of a segment from its first, then walk it backwards."""
    n: tl.constexpr = len(rows)
    states = (state,)
    for k in tl.static_range(n - 1):
        _wire, state = step_forward(rows[k], state, par, key(rng, t + k, RANDOM), C)
        states = states + (state,)
    for k in tl.static_range(n - 1, -1, -1):
        gwire = (grows[k],) + load_row(gtraces, t + k, gt_stride, lane, mask, COMPUTE)
        gvalue, gstate, guse = step_backward(
            gwire, gstate, rows[k], states[k], par, key(rng, t + k, RANDOM), C
        )
        gpar = add(gpar, guse)
        if gx is not None:
            tl.store(gx + (t + k) * S + lane, gvalue.to(gx.dtype.element_ty), mask=mask)
    return gstate, gpar


@triton.jit(do_not_specialize=["T", "S", "N", "inner", "x_stride"])
def scan_forward(x, y, start, final, saved, traces, par, rng, T, S, N, inner, x_stride,
                 C: tl.constexpr, SOURCE: tl.constexpr, INIT: tl.constexpr, RANKS: tl.constexpr,
                 RANDOM: tl.constexpr, COMPUTE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    """All T steps of BLOCK lanes of a step's S elements."""
    T = tl.full((), 0, tl.int32) + T
    S = tl.full((), 0, tl.int64) + S
    x_stride = tl.full((), 0, tl.int64) + x_stride
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = lane < S
    par = load_parameters(par, RANKS, (lane // inner) % N, mask)
    state = load_or(start, INIT, lane, mask, BLOCK, COMPUTE)
    rng = load_key(rng, lane, RANDOM)
    segments = T // STEPS
    rows = load_rows(x, 0, x_stride, lane, tl.where(segments > 0, mask, False), STEPS, COMPUTE)
    for i in range(segments):
        t = i * STEPS
        ahead = load_rows(x, t + STEPS, x_stride, lane, tl.where(i + 1 < segments, mask, False), STEPS, COMPUTE)
        if saved is not None:
            save(saved, i, S, lane, state, mask)
        state = segment_forward(rows, state, par, rng, y, traces, t, S, lane, mask, C, RANDOM)
        rows = ahead
    for t in range(segments * STEPS, T):
        if saved is not None:
            save(saved, t - segments * (STEPS - 1), S, lane, state, mask)
        row = load_rows(x, t, x_stride, lane, mask, 1, COMPUTE)
        state = segment_forward(row, state, par, rng, y, traces, t, S, lane, mask, C, RANDOM)
    store_each(final, lane, state, mask)


@triton.jit(do_not_specialize=["T", "S", "N", "inner", "x_stride", "gy_stride", "lanes"])
def scan_backward(x, gy, start, saved, gfinal, gtraces, par, rng, gx, gstart, gpar, T, S, N, inner,
                  x_stride, gy_stride, lanes,
                  C: tl.constexpr, SOURCE: tl.constexpr, INIT: tl.constexpr, RANKS: tl.constexpr,
                  RANDOM: tl.constexpr, COMPUTE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    """The cotangents of all T steps of BLOCK lanes; `lanes`, a multiple of inner*N, of the S elements at a time."""
    T = tl.full((), 0, tl.int32) + T
    S = tl.full((), 0, tl.int64) + S
    x_stride = tl.full((), 0, tl.int64) + x_stride
    gy_stride = tl.full((), 0, tl.int64) + gy_stride
    first = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    par = load_parameters(par, RANKS, (first // inner) % N, first < lanes)
    total = constants((0.0,) * len(par), BLOCK, COMPUTE)
    segments = T // STEPS
    for group in range(tl.cdiv(S, lanes)):
        lane = group * lanes + first
        mask = (first < lanes) & (lane < S)
        begin = load_or(start, INIT, lane, mask, BLOCK, COMPUTE)
        key0 = load_key(rng, lane, RANDOM)
        gstate = load_or(gfinal, (0.0,) * len(INIT), lane, mask, BLOCK, COMPUTE)
        for i in range(T - segments * STEPS):
            t = T - 1 - i
            state = restore(saved, t - segments * (STEPS - 1), S, lane, begin, mask)
            row = load_rows(x, t, x_stride, lane, mask, 1, COMPUTE)
            grow = load_rows(gy, t, gy_stride, lane, mask, 1, COMPUTE)
            gstate, total = segment_backward(state, row, grow, gtraces, gstate, total, par, key0, gx, t, S, S,
                                             lane, mask, C, RANDOM, COMPUTE)
        for i in range(segments):
            t = (segments - 1 - i) * STEPS
            state = restore(saved, segments - 1 - i, S, lane, begin, mask)
            rows = load_rows(x, t, x_stride, lane, mask, STEPS, COMPUTE)
            grows = load_rows(gy, t, gy_stride, lane, mask, STEPS, COMPUTE)
            gstate, total = segment_backward(state, rows, grows, gtraces, gstate, total, par, key0, gx, t, S, S,
                                             lane, mask, C, RANDOM, COMPUTE)
        store_each(gstart, lane, gstate, mask)
    if gpar is not None:
        for j in tl.static_range(len(total)):
            tl.store(gpar + j * lanes + first, total[j], mask=first < lanes)
