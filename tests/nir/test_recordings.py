"""One LIF as two simulators step it, by their published equations: the same membrane and the same spikes.

The neuron of the recordings published with NIR (Pedersen et al. 2024): tau 2.5 ms, r 1, v_leak 0, threshold 0.1 and a
step of 0.1 ms; the stimulus is of our own. Norse 0.0.7.post1, `lif_box_feed_forward_step`; Nengo 4.0,
`neuron_types.LIF.step`, without a refractory period.
"""

import math

import numpy as np
import pytest
import torch

import tracetorch as tt

nir = pytest.importorskip("nir", reason="nir is an optional extra")
TAU, R, V_LEAK, THRESHOLD, DT, STEPS = 2.5e-3, 1.0, 0.0, 0.1, 1e-4, 1000


def stimulus():
    """A current that is off, on, weak, and irregular: 0.1 s of it, never below zero."""
    t = np.arange(STEPS)
    steady = np.where((t >= 50) & (t < 300), 0.13, 0.0) + np.where((t >= 300) & (t < 500), 0.0999, 0.0)
    pulses = np.where((t >= 500) & (t % 7 == 0), 0.55, 0.0) * (1 + 0.5 * np.sin(t / 40))
    return steady + pulses


def norse(current):
    """dv = dt*tau_mem_inv*((v_leak - v) + i); z = v + dv > v_th; v = (1 - z)*(v + dv) + z*v_reset."""
    v, membrane, spikes = 0.0, [], []
    for i in current:
        v = v + DT * (1 / TAU) * ((V_LEAK - v) + R * i)
        z = float(v - THRESHOLD > 0)
        membrane.append(v)
        spikes.append(z)
        v = (1 - z) * v + z * 0.0
    return np.array(membrane), np.array(spikes)


def nengo(current):
    """In units of the threshold: v -= (J - v)*expm1(-delta_t/tau_rc); a spike where v > 1, then v = 0.

    `delta_t` is what is left of the step after the refractory period, which began when the spike did within its step.
    """
    v, rest, membrane, spikes = 0.0, 0.0, [], []
    for i in current:
        J = R * i / THRESHOLD
        rest -= DT
        delta_t = min(max(DT - rest, 0.0), DT)
        v -= (J - v) * math.expm1(-delta_t / TAU)
        fired = v > 1
        membrane.append(v * THRESHOLD)
        spikes.append(float(fired))
        if fired:
            rest = 0.0 + DT + TAU * math.log1p(-(v - 1) / (J - 1))
            v = 0.0
        v = max(v, 0.0)
    return np.array(membrane), np.array(spikes)


@pytest.mark.parametrize(("method", "simulator"), [("euler", norse), ("exact", nengo)])
def test_membrane_and_spikes_of_a_simulator(method, simulator, backend, dtype):
    def one(value):
        return np.array([value])

    graph = nir.NIRGraph.from_list(nir.LIF(tau=one(TAU), r=one(R), v_leak=one(V_LEAK), v_threshold=one(THRESHOLD)))
    model = tt.from_nir(graph, DT, method, dtype=dtype)
    x = torch.from_numpy(stimulus()).to(dtype)[:, None, None]
    with tt.backend(backend):
        y, seen = tt.scan(model, x, record="potential")
    membrane, spikes = simulator(stimulus())
    assert 10 < spikes.sum() < 100
    assert np.array_equal(y.detach().flatten().numpy(), spikes)
    assert np.abs(seen["lif.potential"].detach().flatten().double().numpy() - membrane).max() < 1e-6


def test_the_simulators_differ_from_each_other():
    """So that neither method stands in for the other."""
    assert np.abs(norse(stimulus())[0] - nengo(stimulus())[0]).max() > 1e-3
