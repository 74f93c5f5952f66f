"""Decays and transforms: inverses, tensors, extreme values, and the errors that show the offending value."""

import pytest
import torch

import tracetorch.functional as F

STEPS = torch.tensor([1.5, 2.0, 10.0, 1e4], dtype=torch.float64)


@pytest.mark.parametrize(
    ("there", "back"),
    [(F.halflife_to_decay, F.decay_to_halflife), (F.timesteps_to_decay, F.decay_to_timesteps)],
)
def test_decays_invert_for_numbers_and_tensors(there, back):
    torch.testing.assert_close(back(there(STEPS)), STEPS, rtol=1e-10, atol=0)
    for t in STEPS.tolist():
        assert isinstance(there(t), float)
        assert back(there(t)) == pytest.approx(t, rel=1e-10)


def test_a_trace_halves_in_its_halflife():
    assert F.halflife_to_decay(5.0) ** 5 == pytest.approx(0.5, rel=1e-14)


def test_decays_are_differentiable():
    steps = STEPS.clone().requires_grad_()
    assert torch.autograd.gradcheck(F.halflife_to_decay, steps)
    assert torch.autograd.gradcheck(F.timesteps_to_decay, steps)


@pytest.mark.parametrize(
    ("fn", "bad", "message"),
    [
        (F.halflife_to_decay, 0.0, r"halflife_to_decay: every value must be greater than 0 \(got 0\)"),
        (F.decay_to_halflife, 1.0, r"decay_to_halflife: every value must be in \(0, 1\) \(got 1\)"),
        (F.timesteps_to_decay, 0.5, r"timesteps_to_decay: every value must be at least 1 \(got 0.5\)"),
        (F.decay_to_timesteps, -0.25, r"decay_to_timesteps: every value must be in \[0, 1\) \(got -0.25\)"),
        (F.sigmoid_inverse, torch.tensor([0.5, 1.5]), r"sigmoid_inverse: .* in \(0, 1\) \(got 1.5\)"),
        (F.softplus_inverse, torch.tensor([1.0, -2.0]), r"softplus_inverse: .* greater than 0 \(got -2\)"),
        (F.mamba_scale, torch.tensor(float("nan")), r"mamba_scale: .* in \(0, 1\) \(got nan\)"),
    ],
)
def test_errors_show_the_value(fn, bad, message):
    with pytest.raises(ValueError, match=message):
        fn(bad)


def test_transforms_invert(dtype):
    x = torch.tensor([1e-4, 0.1, 0.5, 0.9], dtype=dtype)
    torch.testing.assert_close(torch.sigmoid(F.sigmoid_inverse(x)), x)
    torch.testing.assert_close(torch.nn.functional.softplus(F.softplus_inverse(x)), x)
    torch.testing.assert_close(0.5 ** F.mamba_scale(x).exp(), x)


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16, torch.float16])
def test_softplus_inverse_never_overflows(low):
    x = torch.tensor([100.0, 1e4, torch.finfo(low).max], dtype=low, requires_grad=True)
    y = F.softplus_inverse(x)
    assert torch.equal(y, x)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.ones_like(x))


def test_transforms_pass_gradcheck():
    x = torch.tensor([0.05, 0.4, 0.8], dtype=torch.float64, requires_grad=True)
    for fn in (F.sigmoid_inverse, F.softplus_inverse, F.mamba_scale, F.sigmoid4x):
        assert torch.autograd.gradcheck(fn, x)
        assert torch.autograd.gradgradcheck(fn, x)


def test_transforms_of_meta_tensors_skip_the_check():
    assert F.sigmoid_inverse(torch.empty(3, device="meta")).is_meta


def test_names_of_tracetorch_0_19():
    with pytest.warns(DeprecationWarning, match=r"halflife_to_decay: num_steps= is called halflife="):
        assert F.halflife_to_decay(num_steps=1.0) == 0.5
    with pytest.warns(DeprecationWarning, match=r"timesteps_to_decay: time= is called timesteps="):
        assert F.timesteps_to_decay(time=10.0) == pytest.approx(0.9)
