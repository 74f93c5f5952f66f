"""The chain of hand-written stages that runs a step, where every stage has one."""

from __future__ import annotations

from ...pipeline import Pipeline, Step
from .chain import Chain
from .stages import WIRING, output, recurrent, spike


def handwritten(step: Step) -> Chain | None:
    """Return the chain of hand-written stages that runs `step`, or None where some part has none."""
    pipeline = step.pipeline
    if not isinstance(pipeline, Pipeline):      # a padded one
        return None
    fire = spike.firing_of(step) if pipeline.fires else None
    if (pipeline.fires and fire is None) or any(type(stage) not in WIRING for stage in pipeline.stages):
        return None
    links = [link for stage in pipeline.stages for link in WIRING[type(stage)](stage, pipeline, fire)]
    links += [*output.wire_last(pipeline), *recurrent.wire_last(pipeline)]
    draws = type(step.quant_fn) in spike.DRAWING
    return Chain(step.name, links, {n: s.init for n, s in pipeline.states.items()}, draws=draws)
