"""What a type checker must know of composed classes: `make lint` checks it, unused ignores being errors."""

from torch import Tensor, nn

import tracetorch as tt

layer = tt.snn.DSRLITS(128, pos_beta=0.9, dim=-2, learn_bias=False)
state: Tensor | None = layer.pos_mem
value: Tensor = layer.pos_beta
tt.snn.LIB(10, betta=0.5)  # type: ignore[call-arg]
tt.snn.LI("7")  # type: ignore[arg-type]
layer.neg_thresholds  # noqa: B018  (Layer answers for parameters registered at run time)
own = tt.compose(tt.Adaptive, tt.Binary, name="ALIB")(7)
own.zero_states()
model = nn.Sequential(nn.Linear(4, 7), own, nn.Linear(7, 2), tt.snn.LI(2))
