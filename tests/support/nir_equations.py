"""The equations that NIR publishes, integrated in float64 numpy, step by step: nothing of the package is used.

    LI, LIF            tau dv/dt = (v_leak - v) + r x
    CubaLI, CubaLIF    tau_syn dI/dt = -I + w_in x        tau_mem dv/dt = (v_leak - v) + r I
    I, IF              dv/dt = r x
    spike where v > v_threshold, then v = v_reset
"""

import numpy as np
from scipy.linalg import expm


def slopes(kind, p):
    """Return A [2, 2] and b [2], b0 [2] of d(I, v)/dt = A (I, v) + b x + b0, for one neuron."""
    A, b, b0 = np.zeros((2, 2)), np.zeros(2), np.zeros(2)
    if kind in ("I", "IF"):
        b[1] = p["r"]
        return A, b, b0
    tau = p["tau_mem" if kind.startswith("Cuba") else "tau"]
    A[1, 1], b0[1] = -1 / tau, p["v_leak"] / tau
    if kind.startswith("Cuba"):
        A[0, 0], b[0], A[1, 0] = -1 / p["tau_syn"], p["w_in"] / p["tau_syn"], p["r"] / tau
    else:
        b[1] = p["r"] / tau
    return A, b, b0


def advance(kind, p, state, x, dt, method):
    """Return (I, v) after one step with x held."""
    A, b, b0 = slopes(kind, p)
    if method == "euler":
        return state + dt * (A @ state + b * x + b0)
    whole = np.zeros((3, 3))        # the state and a 1, so that what is constant is linear too
    whole[:2, :2], whole[:2, 2] = A, b * x + b0
    return (expm(whole * dt) @ np.append(state, 1.0))[:2]


def integrate(kind, parameters, x, dt, method):
    """Return the output and v before any reset, [T, B, N], for x [T, B, N] and parameters of shape [N]."""
    fires = kind.endswith("F")
    y, vs = np.zeros_like(x), np.zeros_like(x)
    for i in np.ndindex(x.shape[1:]):
        p = {name: float(value[i[-1]]) for name, value in parameters.items()}
        state = np.zeros(2)
        for t in range(len(x)):
            state = advance(kind, p, state, x[(t, *i)], dt, method)
            vs[(t, *i)] = y[(t, *i)] = state[1]
            if fires:
                spike = state[1] > p["v_threshold"]
                y[(t, *i)] = spike
                state[1] = p["v_reset"] if spike else state[1]
    return y, vs
