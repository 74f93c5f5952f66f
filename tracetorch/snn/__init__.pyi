"""Written by tools/stubs.py from the compositions; do not edit."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..layers.layer import SpikingLayer as Layer
from ..layers.neuron import Neuron

__all__ = [
    "Layer", "LI", "DLI", "SLI", "DSLI", "LIEMA", "DLIEMA", "SLIEMA", "DSLIEMA", "LIB", "DLIB",
    "SLIB", "DSLIB", "RLIB", "DRLIB", "SRLIB", "DSRLIB", "LIT", "DLIT", "SLIT", "DSLIT", "RLIT",
    "DRLIT", "SRLIT", "DSRLIT", "LITS", "DLITS", "SLITS", "DSLITS", "RLITS", "DRLITS", "SRLITS",
    "DSRLITS", "LIF", "PLIF", "ALIF",
]

class LI(Neuron):
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, dim: int = -1, beta_rank: int = 1, learn_beta:
        bool = True, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DLI(Neuron):
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, dim: int = -1,
        pos_beta_rank: int = 1, neg_beta_rank: int = 1, learn_pos_beta: bool = True, learn_neg_beta: bool =
        True, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class SLI(Neuron):
    syn: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, dim: int = -1,
        alpha_rank: int = 1, beta_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True, device:
        torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DSLI(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, dim: int = -1, pos_alpha_rank: int = 1,
        neg_alpha_rank: int = 1, pos_beta_rank: int = 1, neg_beta_rank: int = 1, learn_pos_alpha: bool = True,
        learn_neg_alpha: bool = True, learn_pos_beta: bool = True, learn_neg_beta: bool = True, device:
        torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class LIEMA(Neuron):
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, dim: int = -1, beta_rank: int = 1, learn_beta:
        bool = True, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DLIEMA(Neuron):
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, dim: int = -1,
        pos_beta_rank: int = 1, neg_beta_rank: int = 1, learn_pos_beta: bool = True, learn_neg_beta: bool =
        True, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class SLIEMA(Neuron):
    syn: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, dim: int = -1,
        alpha_rank: int = 1, beta_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True, device:
        torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DSLIEMA(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, dim: int = -1, pos_alpha_rank: int = 1,
        neg_alpha_rank: int = 1, pos_beta_rank: int = 1, neg_beta_rank: int = 1, learn_pos_alpha: bool = True,
        learn_neg_alpha: bool = True, learn_pos_beta: bool = True, learn_neg_beta: bool = True, device:
        torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class LIB(Neuron):
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, threshold: float | Tensor = 1.0, bias: float |
        Tensor = 0.0, dim: int = -1, beta_rank: int = 1, threshold_rank: int = 1, bias_rank: int = 1,
        learn_beta: bool = True, learn_threshold: bool = True, learn_bias: bool = True, spike_fn:
        Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device |
        str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DLIB(Neuron):
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, threshold:
        float | Tensor = 1.0, bias: float | Tensor = 0.0, dim: int = -1, pos_beta_rank: int = 1,
        neg_beta_rank: int = 1, threshold_rank: int = 1, bias_rank: int = 1, learn_pos_beta: bool = True,
        learn_neg_beta: bool = True, learn_threshold: bool = True, learn_bias: bool = True, spike_fn:
        Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device |
        str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class SLIB(Neuron):
    syn: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, threshold: float |
        Tensor = 1.0, bias: float | Tensor = 0.0, dim: int = -1, alpha_rank: int = 1, beta_rank: int = 1,
        threshold_rank: int = 1, bias_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True,
        learn_threshold: bool = True, learn_bias: bool = True, spike_fn: Callable[[Tensor], Tensor] = ...,
        quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class DSLIB(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, threshold: float | Tensor = 1.0, bias: float |
        Tensor = 0.0, dim: int = -1, pos_alpha_rank: int = 1, neg_alpha_rank: int = 1, pos_beta_rank: int = 1,
        neg_beta_rank: int = 1, threshold_rank: int = 1, bias_rank: int = 1, learn_pos_alpha: bool = True,
        learn_neg_alpha: bool = True, learn_pos_beta: bool = True, learn_neg_beta: bool = True,
        learn_threshold: bool = True, learn_bias: bool = True, spike_fn: Callable[[Tensor], Tensor] = ...,
        quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class RLIB(Neuron):
    rec: Tensor | None
    prev_output: Tensor | None
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    gamma: Tensor
    raw_gamma: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    rec_weight: Tensor
    raw_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, gamma: float | Tensor = 0.9, threshold: float |
        Tensor = 1.0, bias: float | Tensor = 0.0, rec_weight: float | Tensor = 0.0, dim: int = -1, beta_rank:
        int = 1, gamma_rank: int = 1, threshold_rank: int = 1, bias_rank: int = 1, rec_weight_rank: int = 1,
        learn_beta: bool = True, learn_gamma: bool = True, learn_threshold: bool = True, learn_bias: bool =
        True, learn_rec_weight: bool = True, spike_fn: Callable[[Tensor], Tensor] = ..., quant_fn:
        Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype: torch.dtype | None
        = None
    ) -> None: ...

class DRLIB(Neuron):
    pos_rec: Tensor | None
    neg_rec: Tensor | None
    prev_output: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_gamma: Tensor
    raw_pos_gamma: Tensor
    neg_gamma: Tensor
    raw_neg_gamma: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_rec_weight: Tensor
    raw_pos_rec_weight: Tensor
    neg_rec_weight: Tensor
    raw_neg_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_gamma:
        float | Tensor = 0.9, neg_gamma: float | Tensor = 0.9, threshold: float | Tensor = 1.0, bias: float |
        Tensor = 0.0, pos_rec_weight: float | Tensor = 0.0, neg_rec_weight: float | Tensor = 0.0, dim: int =
        -1, pos_beta_rank: int = 1, neg_beta_rank: int = 1, pos_gamma_rank: int = 1, neg_gamma_rank: int = 1,
        threshold_rank: int = 1, bias_rank: int = 1, pos_rec_weight_rank: int = 1, neg_rec_weight_rank: int =
        1, learn_pos_beta: bool = True, learn_neg_beta: bool = True, learn_pos_gamma: bool = True,
        learn_neg_gamma: bool = True, learn_threshold: bool = True, learn_bias: bool = True,
        learn_pos_rec_weight: bool = True, learn_neg_rec_weight: bool = True, spike_fn: Callable[[Tensor],
        Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None,
        dtype: torch.dtype | None = None
    ) -> None: ...

class SRLIB(Neuron):
    syn: Tensor | None
    rec: Tensor | None
    prev_output: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    gamma: Tensor
    raw_gamma: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    rec_weight: Tensor
    raw_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, gamma: float | Tensor
        = 0.9, threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, rec_weight: float | Tensor = 0.0,
        dim: int = -1, alpha_rank: int = 1, beta_rank: int = 1, gamma_rank: int = 1, threshold_rank: int = 1,
        bias_rank: int = 1, rec_weight_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True,
        learn_gamma: bool = True, learn_threshold: bool = True, learn_bias: bool = True, learn_rec_weight:
        bool = True, spike_fn: Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ...,
        device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DSRLIB(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_rec: Tensor | None
    neg_rec: Tensor | None
    prev_output: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_gamma: Tensor
    raw_pos_gamma: Tensor
    neg_gamma: Tensor
    raw_neg_gamma: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_rec_weight: Tensor
    raw_pos_rec_weight: Tensor
    neg_rec_weight: Tensor
    raw_neg_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_gamma: float | Tensor = 0.9, neg_gamma:
        float | Tensor = 0.9, threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_rec_weight:
        float | Tensor = 0.0, neg_rec_weight: float | Tensor = 0.0, dim: int = -1, pos_alpha_rank: int = 1,
        neg_alpha_rank: int = 1, pos_beta_rank: int = 1, neg_beta_rank: int = 1, pos_gamma_rank: int = 1,
        neg_gamma_rank: int = 1, threshold_rank: int = 1, bias_rank: int = 1, pos_rec_weight_rank: int = 1,
        neg_rec_weight_rank: int = 1, learn_pos_alpha: bool = True, learn_neg_alpha: bool = True,
        learn_pos_beta: bool = True, learn_neg_beta: bool = True, learn_pos_gamma: bool = True,
        learn_neg_gamma: bool = True, learn_threshold: bool = True, learn_bias: bool = True,
        learn_pos_rec_weight: bool = True, learn_neg_rec_weight: bool = True, spike_fn: Callable[[Tensor],
        Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None,
        dtype: torch.dtype | None = None
    ) -> None: ...

class LIT(Neuron):
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0,
        neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, dim: int = -1, beta_rank: int = 1,
        pos_threshold_rank: int = 1, neg_threshold_rank: int = 1, bias_rank: int = 1, learn_beta: bool = True,
        learn_pos_threshold: bool = True, learn_neg_threshold: bool = True, learn_bias: bool = True, spike_fn:
        Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device |
        str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DLIT(Neuron):
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_threshold:
        float | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, dim: int = -1,
        pos_beta_rank: int = 1, neg_beta_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int =
        1, bias_rank: int = 1, learn_pos_beta: bool = True, learn_neg_beta: bool = True, learn_pos_threshold:
        bool = True, learn_neg_threshold: bool = True, learn_bias: bool = True, spike_fn: Callable[[Tensor],
        Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None,
        dtype: torch.dtype | None = None
    ) -> None: ...

class SLIT(Neuron):
    syn: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, pos_threshold: float
        | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, dim: int = -1,
        alpha_rank: int = 1, beta_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int = 1,
        bias_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True, learn_pos_threshold: bool =
        True, learn_neg_threshold: bool = True, learn_bias: bool = True, spike_fn: Callable[[Tensor], Tensor]
        = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class DSLIT(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0,
        neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, dim: int = -1, pos_alpha_rank: int =
        1, neg_alpha_rank: int = 1, pos_beta_rank: int = 1, neg_beta_rank: int = 1, pos_threshold_rank: int =
        1, neg_threshold_rank: int = 1, bias_rank: int = 1, learn_pos_alpha: bool = True, learn_neg_alpha:
        bool = True, learn_pos_beta: bool = True, learn_neg_beta: bool = True, learn_pos_threshold: bool =
        True, learn_neg_threshold: bool = True, learn_bias: bool = True, spike_fn: Callable[[Tensor], Tensor]
        = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class RLIT(Neuron):
    rec: Tensor | None
    prev_output: Tensor | None
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    gamma: Tensor
    raw_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    rec_weight: Tensor
    raw_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, gamma: float | Tensor = 0.9, pos_threshold: float
        | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, rec_weight: float |
        Tensor = 0.0, dim: int = -1, beta_rank: int = 1, gamma_rank: int = 1, pos_threshold_rank: int = 1,
        neg_threshold_rank: int = 1, bias_rank: int = 1, rec_weight_rank: int = 1, learn_beta: bool = True,
        learn_gamma: bool = True, learn_pos_threshold: bool = True, learn_neg_threshold: bool = True,
        learn_bias: bool = True, learn_rec_weight: bool = True, spike_fn: Callable[[Tensor], Tensor] = ...,
        quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class DRLIT(Neuron):
    pos_rec: Tensor | None
    neg_rec: Tensor | None
    prev_output: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_gamma: Tensor
    raw_pos_gamma: Tensor
    neg_gamma: Tensor
    raw_neg_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_rec_weight: Tensor
    raw_pos_rec_weight: Tensor
    neg_rec_weight: Tensor
    raw_neg_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_gamma:
        float | Tensor = 0.9, neg_gamma: float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0,
        neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_rec_weight: float | Tensor = 0.0,
        neg_rec_weight: float | Tensor = 0.0, dim: int = -1, pos_beta_rank: int = 1, neg_beta_rank: int = 1,
        pos_gamma_rank: int = 1, neg_gamma_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int
        = 1, bias_rank: int = 1, pos_rec_weight_rank: int = 1, neg_rec_weight_rank: int = 1, learn_pos_beta:
        bool = True, learn_neg_beta: bool = True, learn_pos_gamma: bool = True, learn_neg_gamma: bool = True,
        learn_pos_threshold: bool = True, learn_neg_threshold: bool = True, learn_bias: bool = True,
        learn_pos_rec_weight: bool = True, learn_neg_rec_weight: bool = True, spike_fn: Callable[[Tensor],
        Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None,
        dtype: torch.dtype | None = None
    ) -> None: ...

class SRLIT(Neuron):
    syn: Tensor | None
    rec: Tensor | None
    prev_output: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    gamma: Tensor
    raw_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    rec_weight: Tensor
    raw_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, gamma: float | Tensor
        = 0.9, pos_threshold: float | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor
        = 0.0, rec_weight: float | Tensor = 0.0, dim: int = -1, alpha_rank: int = 1, beta_rank: int = 1,
        gamma_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int = 1, bias_rank: int = 1,
        rec_weight_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True, learn_gamma: bool = True,
        learn_pos_threshold: bool = True, learn_neg_threshold: bool = True, learn_bias: bool = True,
        learn_rec_weight: bool = True, spike_fn: Callable[[Tensor], Tensor] = ..., quant_fn:
        Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype: torch.dtype | None
        = None
    ) -> None: ...

class DSRLIT(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_rec: Tensor | None
    neg_rec: Tensor | None
    prev_output: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_gamma: Tensor
    raw_pos_gamma: Tensor
    neg_gamma: Tensor
    raw_neg_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_rec_weight: Tensor
    raw_pos_rec_weight: Tensor
    neg_rec_weight: Tensor
    raw_neg_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_gamma: float | Tensor = 0.9, neg_gamma:
        float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias:
        float | Tensor = 0.0, pos_rec_weight: float | Tensor = 0.0, neg_rec_weight: float | Tensor = 0.0, dim:
        int = -1, pos_alpha_rank: int = 1, neg_alpha_rank: int = 1, pos_beta_rank: int = 1, neg_beta_rank: int
        = 1, pos_gamma_rank: int = 1, neg_gamma_rank: int = 1, pos_threshold_rank: int = 1,
        neg_threshold_rank: int = 1, bias_rank: int = 1, pos_rec_weight_rank: int = 1, neg_rec_weight_rank:
        int = 1, learn_pos_alpha: bool = True, learn_neg_alpha: bool = True, learn_pos_beta: bool = True,
        learn_neg_beta: bool = True, learn_pos_gamma: bool = True, learn_neg_gamma: bool = True,
        learn_pos_threshold: bool = True, learn_neg_threshold: bool = True, learn_bias: bool = True,
        learn_pos_rec_weight: bool = True, learn_neg_rec_weight: bool = True, spike_fn: Callable[[Tensor],
        Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None,
        dtype: torch.dtype | None = None
    ) -> None: ...

class LITS(Neuron):
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0,
        neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_scale: float | Tensor = 1.0,
        neg_scale: float | Tensor = 1.0, dim: int = -1, beta_rank: int = 1, pos_threshold_rank: int = 1,
        neg_threshold_rank: int = 1, pos_scale_rank: int = 1, neg_scale_rank: int = 1, bias_rank: int = 1,
        learn_beta: bool = True, learn_pos_threshold: bool = True, learn_neg_threshold: bool = True,
        learn_pos_scale: bool = True, learn_neg_scale: bool = True, learn_bias: bool = True, spike_fn:
        Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device |
        str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DLITS(Neuron):
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_threshold:
        float | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_scale:
        float | Tensor = 1.0, neg_scale: float | Tensor = 1.0, dim: int = -1, pos_beta_rank: int = 1,
        neg_beta_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int = 1, pos_scale_rank: int
        = 1, neg_scale_rank: int = 1, bias_rank: int = 1, learn_pos_beta: bool = True, learn_neg_beta: bool =
        True, learn_pos_threshold: bool = True, learn_neg_threshold: bool = True, learn_pos_scale: bool =
        True, learn_neg_scale: bool = True, learn_bias: bool = True, spike_fn: Callable[[Tensor], Tensor] =
        ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class SLITS(Neuron):
    syn: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, pos_threshold: float
        | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_scale: float |
        Tensor = 1.0, neg_scale: float | Tensor = 1.0, dim: int = -1, alpha_rank: int = 1, beta_rank: int = 1,
        pos_threshold_rank: int = 1, neg_threshold_rank: int = 1, pos_scale_rank: int = 1, neg_scale_rank: int
        = 1, bias_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True, learn_pos_threshold: bool
        = True, learn_neg_threshold: bool = True, learn_pos_scale: bool = True, learn_neg_scale: bool = True,
        learn_bias: bool = True, spike_fn: Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor],
        Tensor] = ..., device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DSLITS(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0,
        neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_scale: float | Tensor = 1.0,
        neg_scale: float | Tensor = 1.0, dim: int = -1, pos_alpha_rank: int = 1, neg_alpha_rank: int = 1,
        pos_beta_rank: int = 1, neg_beta_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int =
        1, pos_scale_rank: int = 1, neg_scale_rank: int = 1, bias_rank: int = 1, learn_pos_alpha: bool = True,
        learn_neg_alpha: bool = True, learn_pos_beta: bool = True, learn_neg_beta: bool = True,
        learn_pos_threshold: bool = True, learn_neg_threshold: bool = True, learn_pos_scale: bool = True,
        learn_neg_scale: bool = True, learn_bias: bool = True, spike_fn: Callable[[Tensor], Tensor] = ...,
        quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class RLITS(Neuron):
    rec: Tensor | None
    prev_output: Tensor | None
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    gamma: Tensor
    raw_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    rec_weight: Tensor
    raw_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, gamma: float | Tensor = 0.9, pos_threshold: float
        | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_scale: float |
        Tensor = 1.0, neg_scale: float | Tensor = 1.0, rec_weight: float | Tensor = 0.0, dim: int = -1,
        beta_rank: int = 1, gamma_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int = 1,
        pos_scale_rank: int = 1, neg_scale_rank: int = 1, bias_rank: int = 1, rec_weight_rank: int = 1,
        learn_beta: bool = True, learn_gamma: bool = True, learn_pos_threshold: bool = True,
        learn_neg_threshold: bool = True, learn_pos_scale: bool = True, learn_neg_scale: bool = True,
        learn_bias: bool = True, learn_rec_weight: bool = True, spike_fn: Callable[[Tensor], Tensor] = ...,
        quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...

class DRLITS(Neuron):
    pos_rec: Tensor | None
    neg_rec: Tensor | None
    prev_output: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_gamma: Tensor
    raw_pos_gamma: Tensor
    neg_gamma: Tensor
    raw_neg_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    pos_rec_weight: Tensor
    raw_pos_rec_weight: Tensor
    neg_rec_weight: Tensor
    raw_neg_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_beta: float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_gamma:
        float | Tensor = 0.9, neg_gamma: float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0,
        neg_threshold: float | Tensor = 1.0, bias: float | Tensor = 0.0, pos_scale: float | Tensor = 1.0,
        neg_scale: float | Tensor = 1.0, pos_rec_weight: float | Tensor = 0.0, neg_rec_weight: float | Tensor
        = 0.0, dim: int = -1, pos_beta_rank: int = 1, neg_beta_rank: int = 1, pos_gamma_rank: int = 1,
        neg_gamma_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int = 1, pos_scale_rank: int
        = 1, neg_scale_rank: int = 1, bias_rank: int = 1, pos_rec_weight_rank: int = 1, neg_rec_weight_rank:
        int = 1, learn_pos_beta: bool = True, learn_neg_beta: bool = True, learn_pos_gamma: bool = True,
        learn_neg_gamma: bool = True, learn_pos_threshold: bool = True, learn_neg_threshold: bool = True,
        learn_pos_scale: bool = True, learn_neg_scale: bool = True, learn_bias: bool = True,
        learn_pos_rec_weight: bool = True, learn_neg_rec_weight: bool = True, spike_fn: Callable[[Tensor],
        Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None,
        dtype: torch.dtype | None = None
    ) -> None: ...

class SRLITS(Neuron):
    syn: Tensor | None
    rec: Tensor | None
    prev_output: Tensor | None
    mem: Tensor | None
    alpha: Tensor
    raw_alpha: Tensor
    beta: Tensor
    raw_beta: Tensor
    gamma: Tensor
    raw_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    rec_weight: Tensor
    raw_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, alpha: float | Tensor = 0.5, beta: float | Tensor = 0.9, gamma: float | Tensor
        = 0.9, pos_threshold: float | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias: float | Tensor
        = 0.0, pos_scale: float | Tensor = 1.0, neg_scale: float | Tensor = 1.0, rec_weight: float | Tensor =
        0.0, dim: int = -1, alpha_rank: int = 1, beta_rank: int = 1, gamma_rank: int = 1, pos_threshold_rank:
        int = 1, neg_threshold_rank: int = 1, pos_scale_rank: int = 1, neg_scale_rank: int = 1, bias_rank: int
        = 1, rec_weight_rank: int = 1, learn_alpha: bool = True, learn_beta: bool = True, learn_gamma: bool =
        True, learn_pos_threshold: bool = True, learn_neg_threshold: bool = True, learn_pos_scale: bool =
        True, learn_neg_scale: bool = True, learn_bias: bool = True, learn_rec_weight: bool = True, spike_fn:
        Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device |
        str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class DSRLITS(Neuron):
    pos_syn: Tensor | None
    neg_syn: Tensor | None
    pos_rec: Tensor | None
    neg_rec: Tensor | None
    prev_output: Tensor | None
    pos_mem: Tensor | None
    neg_mem: Tensor | None
    pos_alpha: Tensor
    raw_pos_alpha: Tensor
    neg_alpha: Tensor
    raw_neg_alpha: Tensor
    pos_beta: Tensor
    raw_pos_beta: Tensor
    neg_beta: Tensor
    raw_neg_beta: Tensor
    pos_gamma: Tensor
    raw_pos_gamma: Tensor
    neg_gamma: Tensor
    raw_neg_gamma: Tensor
    pos_threshold: Tensor
    raw_pos_threshold: Tensor
    neg_threshold: Tensor
    raw_neg_threshold: Tensor
    bias: Tensor
    raw_bias: Tensor
    pos_scale: Tensor
    raw_pos_scale: Tensor
    neg_scale: Tensor
    raw_neg_scale: Tensor
    pos_rec_weight: Tensor
    raw_pos_rec_weight: Tensor
    neg_rec_weight: Tensor
    raw_neg_rec_weight: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, pos_alpha: float | Tensor = 0.5, neg_alpha: float | Tensor = 0.5, pos_beta:
        float | Tensor = 0.9, neg_beta: float | Tensor = 0.9, pos_gamma: float | Tensor = 0.9, neg_gamma:
        float | Tensor = 0.9, pos_threshold: float | Tensor = 1.0, neg_threshold: float | Tensor = 1.0, bias:
        float | Tensor = 0.0, pos_scale: float | Tensor = 1.0, neg_scale: float | Tensor = 1.0,
        pos_rec_weight: float | Tensor = 0.0, neg_rec_weight: float | Tensor = 0.0, dim: int = -1,
        pos_alpha_rank: int = 1, neg_alpha_rank: int = 1, pos_beta_rank: int = 1, neg_beta_rank: int = 1,
        pos_gamma_rank: int = 1, neg_gamma_rank: int = 1, pos_threshold_rank: int = 1, neg_threshold_rank: int
        = 1, pos_scale_rank: int = 1, neg_scale_rank: int = 1, bias_rank: int = 1, pos_rec_weight_rank: int =
        1, neg_rec_weight_rank: int = 1, learn_pos_alpha: bool = True, learn_neg_alpha: bool = True,
        learn_pos_beta: bool = True, learn_neg_beta: bool = True, learn_pos_gamma: bool = True,
        learn_neg_gamma: bool = True, learn_pos_threshold: bool = True, learn_neg_threshold: bool = True,
        learn_pos_scale: bool = True, learn_neg_scale: bool = True, learn_bias: bool = True,
        learn_pos_rec_weight: bool = True, learn_neg_rec_weight: bool = True, spike_fn: Callable[[Tensor],
        Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None,
        dtype: torch.dtype | None = None
    ) -> None: ...

class LIF(Neuron):
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, threshold: float | Tensor = 1.0, dim: int = -1,
        beta_rank: int = 0, threshold_rank: int = 0, learn_beta: bool = True, learn_threshold: bool = True,
        spike_fn: Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device:
        torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class PLIF(Neuron):
    mem: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, threshold: float | Tensor = 1.0, dim: int = -1,
        beta_rank: int = 1, threshold_rank: int = 1, learn_beta: bool = True, learn_threshold: bool = True,
        spike_fn: Callable[[Tensor], Tensor] = ..., quant_fn: Callable[[Tensor], Tensor] = ..., device:
        torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None: ...

class ALIF(Neuron):
    mem: Tensor | None
    adapt: Tensor | None
    beta: Tensor
    raw_beta: Tensor
    threshold: Tensor
    raw_threshold: Tensor
    rho: Tensor
    raw_rho: Tensor
    kappa: Tensor
    raw_kappa: Tensor
    spike_fn: Callable[[Tensor], Tensor]
    quant_fn: Callable[[Tensor], Tensor]
    def __init__(
        self, num_neurons: int, beta: float | Tensor = 0.9, threshold: float | Tensor = 1.0, rho: float |
        Tensor = 0.95, kappa: float | Tensor = 0.1, dim: int = -1, beta_rank: int = 0, threshold_rank: int =
        0, rho_rank: int = 0, kappa_rank: int = 0, learn_beta: bool = True, learn_threshold: bool = True,
        learn_rho: bool = True, learn_kappa: bool = True, spike_fn: Callable[[Tensor], Tensor] = ...,
        quant_fn: Callable[[Tensor], Tensor] = ..., device: torch.device | str | None = None, dtype:
        torch.dtype | None = None
    ) -> None: ...
