"""The loop over time, written once for any tuple of stages, in both directions.

C, the composition, is an opaque constant: `Chain` in chain.py. Each of its stages names by index the
states it reads, those it writes and the parameters it is given. Every state is read once and written once in a
step; `write_order` and `read_order` bring what the stages return, one after the other, into the order of the
states, and `uses` says which of the returned cotangents belong to a parameter.

Time runs in segments of STEPS rows, whose loads are all in flight together, and so are those of the rows left over
at the end, which are the last of STEPS rows. Forward saves the states at the start of each segment, backward
recomputes the states inside it, KEEP of which stay in registers; or forward saves them at every step, DENSE. Nothing
else is kept, and a lane never reads what another lane wrote.
"""

import triton
import triton.language as tl

from .tuples import add, get, pick, total


@triton.jit
def constants(values: tl.constexpr, BLOCK: tl.constexpr, COMPUTE: tl.constexpr):
    out = ()
    for j in tl.static_range(len(values)):
        out = out + (tl.full((BLOCK,), values[j], COMPUTE),)
    return out


@triton.jit
def load_or(pointers, values: tl.constexpr, offset, mask, BLOCK: tl.constexpr, COMPUTE: tl.constexpr):
    """What the pointers hold, or the constants where there are no pointers."""
    if pointers is None:
        out = constants(values, BLOCK, COMPUTE)
    else:
        out = ()
        for j in tl.static_range(len(pointers)):
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
def load_rows(pointer, t, stride, lane, mask, STEPS: tl.constexpr, COMPUTE: tl.constexpr,
              UNIT: tl.constexpr):
    """Rows t, t + 1, ... of one tensor; zeros where there is none."""
    out = ()
    if pointer is None:
        for _k in tl.static_range(STEPS):
            out = out + (tl.zeros(lane.shape, COMPUTE),)
    else:
        at = tl.multiple_of(row_of(pointer, t, stride, lane), UNIT)
        for _k in tl.static_range(STEPS):
            out = out + (tl.load(at, mask=mask, other=0.0).to(COMPUTE),)
            at += stride
    return out


@triton.jit
def row_of(pointer, t, stride, lane):
    """Where row t of a tensor holds each lane; the next row lies `stride` further, which costs one addition."""
    return pointer + (tl.full((), 0, tl.int64) + t) * stride + lane


@triton.jit
def store_each(pointers, offset, values, mask):
    if pointers is not None:
        for j in tl.static_range(len(pointers)):
            tl.store(pointers[j] + offset, values[j], mask=mask)


@triton.jit
def save(pointer, row, S, lane, values, mask):
    """Write the states as checkpoint `row`; the first segment starts from the start states, so it has none."""
    at, present = row_of(pointer, (row - 1) * len(values), S, lane), tl.where(row > 0, mask, False)
    for j in tl.static_range(len(values)):
        tl.store(at, values[j], mask=present)
        at += S


@triton.jit
def fetch(pointer, row, S, lane, mask, COUNT: tl.constexpr):
    """Checkpoint `row`, as `save` wrote it."""
    at, present, out = row_of(pointer, (row - 1) * COUNT, S, lane), tl.where(row > 0, mask, False), ()
    for _j in tl.static_range(COUNT):
        out = out + (tl.load(at, mask=present, other=0.0),)
        at += S
    return out


@triton.jit
def fetch_segment(pointer, i, S, lane, mask, COUNT: tl.constexpr, STEPS: tl.constexpr, DENSE: tl.constexpr):
    """What is saved of segment i: the states before its first row or, where that is DENSE, before each."""
    out = ()
    if DENSE:
        for k in tl.static_range(STEPS):
            out = out + (fetch(pointer, i * STEPS + k, S, lane, mask, COUNT),)
    else:
        out = (fetch(pointer, i, S, lane, mask, COUNT),)
    return out


@triton.jit
def begun(saved, row, start):
    """The states that segment `row` starts from: those saved or, for the first, the start states."""
    out = ()
    for j in tl.static_range(len(start)):
        out = out + (tl.where(row > 0, saved[j], start[j]),)
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
        out = (tl.load(pointer), tl.load(pointer + 1), lane.to(tl.uint32), (lane.to(tl.int64) >> 32).to(tl.uint32))
    else:
        out = ()
    return out


@triton.jit
def run_stage(wire, old, par, rng, C: tl.constexpr, i: tl.constexpr):
    state, given = pick(old, get(C, "stages", i, "reads")), pick(par, get(C, "stages", i, "parameters"))
    return get(C, "stages", i, "forward")(wire, state, given, rng, get(C, "stages", i, "conf"))


@triton.jit
def run_stage_back(gwire, gnew, wire, old, par, rng, C: tl.constexpr, i: tl.constexpr):
    state, given = pick(old, get(C, "stages", i, "reads")), pick(par, get(C, "stages", i, "parameters"))
    gwritten = pick(gnew, get(C, "stages", i, "writes"))
    return get(C, "stages", i, "backward")(gwire, gwritten, wire, state, given, rng, get(C, "stages", i, "conf"))


@triton.jit
def step_forward(x, old, par, rng, C: tl.constexpr):
    """One step: (the last wire, new states)."""
    wire, made = (x,), ()
    for i in tl.static_range(get(C, "depth")):
        wire, new = run_stage(wire, old, par, rng, C, i)
        made = made + new
    return wire, pick(made, get(C, "write_order"))


@triton.jit
def step_backward(gwire, gnew, x, old, par, rng, C: tl.constexpr):
    """One step: the cotangents of x, of the old states and of the parameters."""
    wire, wires = (x,), ((x,),)
    for i in tl.static_range(get(C, "depth") - 1):
        wire, _new = run_stage(wire, old, par, rng, C, i)
        wires = wires + (wire,)
    greads, guses, gpar = (), (), ()
    for i in tl.static_range(get(C, "depth") - 1, -1, -1):
        gwire, gread, guse = run_stage_back(gwire, gnew, wires[i], old, par, rng, C, i)
        greads, guses = gread + greads, guse + guses
    for k in tl.static_range(len(par)):
        gpar = gpar + (total(pick(guses, get(C, "uses", k))),)
    return gwire[0], pick(greads, get(C, "read_order")), gpar


@triton.jit
def segment_forward(rows, state, par, rng, y, recordings, saved, t, S, lane, mask,
                    C: tl.constexpr, RANDOM: tl.constexpr, DENSE: tl.constexpr):
    """Run the steps of `rows`, the first of which is t."""
    at = row_of(y, t, S, lane)
    for k in tl.static_range(len(rows)):
        if DENSE:
            save(saved, t + k, S, lane, state, mask)
        wire, state = step_forward(rows[k], state, par, key(rng, t + k, RANDOM), C)
        tl.store(at, wire[0].to(y.dtype.element_ty), mask=mask)
        at += S
        store_each(recordings, (t + k) * S + lane, wire[1:], mask)
    return state


@triton.jit
def rest_forward(rows, left, state, par, rng, y, recordings, t, S, lane, mask, C: tl.constexpr, RANDOM: tl.constexpr):
    """Run the last `left` steps of `rows`, fewer than all; the first row is t."""
    for k in tl.static_range(1, len(rows)):
        if k >= len(rows) - left:
            wire, state = step_forward(rows[k], state, par, key(rng, t + k, RANDOM), C)
            tl.store(row_of(y, t + k, S, lane), wire[0].to(y.dtype.element_ty), mask=mask)
            store_each(recordings, (t + k) * S + lane, wire[1:], mask)
    return state


@triton.jit
def segment_backward(saved, rows, grows, grecordings, gstate, gpar, par, rng, gx, t, S, lane, mask,
                  C: tl.constexpr, RANDOM: tl.constexpr, BLOCK: tl.constexpr, COMPUTE: tl.constexpr,
                  BEGIN: tl.constexpr, END: tl.constexpr):
    """Walk back from row END to BEGIN; what is not saved of the states is recomputed from the first of all rows."""
    states, state = (), saved[0]
    for k in tl.static_range(END - 1):
        if k >= BEGIN:
            states = states + (state,)
        if len(saved) > 1:
            state = saved[k + 1]
        else:
            _wire, state = step_forward(rows[k], state, par, key(rng, t + k, RANDOM), C)
    states = states + (state,)
    if gx is not None:
        at = row_of(gx, t + (END - 1), S, lane)
    for k in tl.static_range(END - 1, BEGIN - 1, -1):
        grecording = load_or(grecordings, get(C, "zero_recordings"), (t + k) * S + lane, mask, BLOCK, COMPUTE)
        gvalue, gstate, guse = step_backward(
            (grows[k],) + grecording, gstate, rows[k], states[k - BEGIN], par, key(rng, t + k, RANDOM), C
        )
        gpar = add(gpar, guse)
        if gx is not None:
            tl.store(at, gvalue.to(gx.dtype.element_ty), mask=mask)
            at -= S
    return gstate, gpar


@triton.jit
def rest_backward(state, rows, grows, left, grecordings, gstate, gpar, par, rng, gx, t, S, lane, mask,
                  C: tl.constexpr, RANDOM: tl.constexpr, BLOCK: tl.constexpr, COMPUTE: tl.constexpr):
    """The same for the last `left` of all rows, fewer than all, from the state before the first of them."""
    n: tl.constexpr = len(rows)
    states = ()
    for k in tl.static_range(1, n):
        states = states + (state,)
        if k >= n - left:
            _wire, state = step_forward(rows[k], state, par, key(rng, t + k, RANDOM), C)
    for k in tl.static_range(n - 1, 0, -1):
        if k >= n - left:
            grecording = load_or(grecordings, get(C, "zero_recordings"), (t + k) * S + lane, mask, BLOCK, COMPUTE)
            gvalue, gstate, guse = step_backward(
                (grows[k],) + grecording, gstate, rows[k], states[k - 1], par, key(rng, t + k, RANDOM), C
            )
            gpar = add(gpar, guse)
            if gx is not None:
                tl.store(row_of(gx, t + k, S, lane), gvalue.to(gx.dtype.element_ty), mask=mask)
    return gstate, gpar


@triton.jit(do_not_specialize=["T", "S", "N", "inner", "x_stride", "lanes", "groups"],
            do_not_specialize_on_alignment=["x"])
def scan_forward(x, y, start, final, saved, recordings, par, rng, T, S, N, inner, x_stride, lanes, groups,
                 C: tl.constexpr, RANKS: tl.constexpr,
                 RANDOM: tl.constexpr, COMPUTE: tl.constexpr, INDEX: tl.constexpr, STEPS: tl.constexpr,
                 BLOCK: tl.constexpr, DENSE: tl.constexpr, UNIT: tl.constexpr):
    """All T steps of BLOCK lanes; `lanes`, a multiple of inner*N, of the S elements of a step at a time.

    S, x_stride and lanes come in multiples of UNIT, which tells the compiler what divides them; x lies at a multiple
    of as many bytes. Neither is left to Triton, which would compile anew where they happen to divide by 16.
    """
    T = tl.full((), 0, tl.int32) + T
    S = (tl.full((), 0, tl.int64) + S) * UNIT
    x_stride = (tl.full((), 0, tl.int64) + x_stride) * UNIT
    lanes = (tl.full((), 0, INDEX) + lanes) * UNIT
    first = tl.program_id(0).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    par = load_parameters(par, RANKS, (first // inner) % N, first < lanes)
    segments = T // STEPS
    for group in range(groups):
        lane = group * lanes + first
        mask = (first < lanes) & (lane < S)
        state = load_or(start, get(C, "init"), lane, mask, BLOCK, COMPUTE)
        key0 = load_key(rng, lane, RANDOM)
        rows = load_rows(x, 0, x_stride, lane, tl.where(segments > 0, mask, False), STEPS, COMPUTE, UNIT)
        for i in range(segments):
            t = i * STEPS       # and the rows that are left over are the last of as many as a segment has
            ahead = load_rows(x, min(t + STEPS, T - STEPS), x_stride, lane, tl.where(t + STEPS < T, mask, False), STEPS,
                              COMPUTE, UNIT)
            if saved is not None and not DENSE:
                save(saved, i, S, lane, state, mask)
            state = segment_forward(rows, state, par, key0, y, recordings, saved, t, S, lane, mask, C, RANDOM, DENSE)
            rows = ahead
        left = T - segments * STEPS
        if left > 0:
            if saved is not None:
                save(saved, segments * STEPS if DENSE else segments, S, lane, state, mask)
            state = rest_forward(rows, left, state, par, key0, y, recordings, T - STEPS, S, lane, mask, C, RANDOM)
        store_each(final, lane, state, mask)


@triton.jit(do_not_specialize=["T", "S", "N", "inner", "x_stride", "gy_stride", "lanes", "groups"],
            do_not_specialize_on_alignment=["x", "gy"])
def scan_backward(x, gy, start, saved, gfinal, grecordings, par, rng, gx, gstart, gpar, T, S, N, inner,
                  x_stride, gy_stride, lanes, groups,
                  C: tl.constexpr, RANKS: tl.constexpr,
                  RANDOM: tl.constexpr, COMPUTE: tl.constexpr, INDEX: tl.constexpr, STEPS: tl.constexpr,
                  BLOCK: tl.constexpr, AHEAD: tl.constexpr, KEEP: tl.constexpr, DENSE: tl.constexpr,
                  UNIT: tl.constexpr):
    """The cotangents of what `scan_forward` computes from the same arguments."""
    T = tl.full((), 0, tl.int32) + T
    S = (tl.full((), 0, tl.int64) + S) * UNIT
    x_stride = (tl.full((), 0, tl.int64) + x_stride) * UNIT
    gy_stride = (tl.full((), 0, tl.int64) + gy_stride) * UNIT
    lanes = (tl.full((), 0, INDEX) + lanes) * UNIT
    first = tl.program_id(0).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    par = load_parameters(par, RANKS, (first // inner) % N, first < lanes)
    sums = constants(get(C, "zero_parameters"), BLOCK, COMPUTE)
    segments = T // STEPS
    for group in range(groups):
        lane = group * lanes + first
        mask = (first < lanes) & (lane < S)
        begin = load_or(start, get(C, "init"), lane, mask, BLOCK, COMPUTE)
        key0 = load_key(rng, lane, RANDOM)
        gstate = load_or(gfinal, get(C, "zero_states"), lane, mask, BLOCK, COMPUTE)
        left = T - segments * STEPS
        if left > 0:
            row = segments * STEPS if DENSE else segments
            state = begun(fetch(saved, row, S, lane, mask, len(begin)), row, begin)
            rows = load_rows(x, T - STEPS, x_stride, lane, mask, STEPS, COMPUTE, UNIT)
            grows = load_rows(gy, T - STEPS, gy_stride, lane, mask, STEPS, COMPUTE, UNIT)
            gstate, sums = rest_backward(state, rows, grows, left, grecordings, gstate, sums, par, key0, gx,
                                         T - STEPS, S, lane, mask, C, RANDOM, BLOCK, COMPUTE)
        last = (segments - 1) * STEPS
        if AHEAD:
            present = tl.where(segments > 0, mask, False)
            rows = load_rows(x, last, x_stride, lane, present, STEPS, COMPUTE, UNIT)
            grows = load_rows(gy, last, gy_stride, lane, present, STEPS, COMPUTE, UNIT)
            kept = fetch_segment(saved, segments - 1, S, lane, mask, len(begin), STEPS, DENSE)
        for i in range(segments):
            t = last - i * STEPS
            if AHEAD:
                present = tl.where(i + 1 < segments, mask, False)
                ahead = load_rows(x, t - STEPS, x_stride, lane, present, STEPS, COMPUTE, UNIT)
                gahead = load_rows(gy, t - STEPS, gy_stride, lane, present, STEPS, COMPUTE, UNIT)
                states = (begun(kept[0], segments - 1 - i, begin),) + kept[1:]
                kept = fetch_segment(saved, segments - 2 - i, S, lane, mask, len(begin), STEPS, DENSE)
                gstate, sums = segment_backward(states, rows, grows, grecordings, gstate, sums, par, key0, gx, t, S,
                                                lane, mask, C, RANDOM, BLOCK, COMPUTE, 0, STEPS)
                rows, grows = ahead, gahead
            else:
                grows = load_rows(gy, t, gy_stride, lane, mask, STEPS, COMPUTE, UNIT)
                for part in tl.static_range(STEPS // KEEP - 1, -1, -1):     # what came from memory is loaded again
                    rows = load_rows(x, t, x_stride, lane, mask, part * KEEP + KEEP, COMPUTE, UNIT)
                    state = begun(fetch(saved, segments - 1 - i, S, lane, mask, len(begin)), segments - 1 - i, begin)
                    gstate, sums = segment_backward((state,), rows, grows, grecordings, gstate, sums, par, key0, gx, t,
                                                    S, lane, mask, C, RANDOM, BLOCK, COMPUTE, part * KEEP,
                                                    part * KEEP + KEEP)
        store_each(gstart, lane, gstate, mask)
        if gpar is not None:
            over = mask & (lane + lanes >= S)           # each lane after the last of its rows
            # a place that is not known before the loop, where it would take registers
            place = tl.max_contiguous(tl.multiple_of(tl.where(over, first, 0), UNIT), UNIT)
            for j in tl.static_range(len(sums)):
                tl.store(gpar + (j * lanes + place), sums[j], mask=over)
