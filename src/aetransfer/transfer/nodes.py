"""What a resolved job builds from its config, and whether these nodes are to be had and fit together.

As far as their sources tell: nothing is imported for it.
"""

from collections.abc import Iterator

from aetransfer.config.instantiate import (
    Role,
    can_do,
    check_needs,
    check_node,
    is_mix,
    kind_of,
    learns_mixed,
    needs_of,
    said_by,
)
from aetransfer.config.nodes import ModelNode, Node, Target, chosen
from aetransfer.config.schema import Conv4Encoder, Job, Pretraining, Transfer
from aetransfer.config.shapes import noun_of
from aetransfer.config.signatures import GIVEN_LATER, parameters_of
from aetransfer.errors import UserError
from aetransfer.models.facts import capabilities_in

# Of the program's own files, those that fit each kind of input, by the group that they are of.
FITTING = {
    "augment": {"pixels": "crop_flip", "images": "flip", "signals": "signal", "vectors": "vector_views"},
    "views": {"pixels": "simclr", "images": "image_views", "signals": "signal_views", "vectors": "vector_views"},
}


def check_nodes(job: Job) -> None:
    """Raise UserError for code that is not allowed or takes other keys, and for nodes that don't fit together."""
    for node, role, place in _nodes(job):
        check_node(node, role, job.allow, GIVEN_LATER.get(role, ()), place)
    for prefix, stage in stages_of(job):
        _check_views(prefix, stage.model, job.allow)
        _check_mixes(prefix, stage, job.allow)
    check_transforms(job)
    # How many layers another encoder has, only the encoder itself knows, once it is built.
    match job.transfer, job.encoder:
        case Transfer(transplanted=int(layers)), Conv4Encoder() as encoder if layers > encoder.layers:
            raise UserError(f"transfer.transplanted={layers}, but the encoder has {encoder.layers} layers: lower it.")
    methods = can_do(job.model.target, job.allow)
    can = None if methods is None else capabilities_in(methods)
    for name, measure in chosen(job.evaluation).items():
        check_needs(name, needs_of(measure, job.allow), can, job.model.name)


def stages_of(job: Job) -> list[tuple[str, Job | Pretraining]]:
    """List what is trained, each with what its keys begin with."""
    return [("", job), *([("pretrain.", job.pretrain)] if isinstance(job.pretrain, Pretraining) else [])]


def _nodes(job: Job) -> list[tuple[Node, Role, str | None]]:
    """List what is built from the config, each with the key that a sentence calls it by."""
    nodes: list[tuple[Node | None, Role, str | None]] = [(job.encoder, "encoder", None)]
    for prefix, stage in stages_of(job):
        nodes += [(stage.data.reader, "reader", None), (stage.model, "model", f"{prefix}model")]
        nodes += [(node, "augmentation", key) for _, key, node in _transforms(prefix, stage)]
        nodes += [
            (stage.optimizer, "optimizer", f"{prefix}optimizer"),
            (stage.head, "head", f"{prefix}head"),
            (stage.scheduler, "scheduler", f"{prefix}scheduler"),
        ]
    nodes.append((job.transfer, "arm", "transfer"))
    nodes += [(node, "measure", f"evaluation.{name}") for name, node in job.evaluation.items()]
    nodes += [(node, "metric", f"metrics.{name}") for name, node in job.metrics.items()]
    nodes += [(node, "callback", None) for node in job.callbacks.values()]
    nodes += [(node, "logger", None) for node in job.logger.values()]
    return [(node, role, place) for node, role, place in nodes if node is not None]


def _transforms(prefix: str, stage: Job | Pretraining) -> Iterator[tuple[str, str, Target]]:
    """Yield what changes inputs: whether it is of `data.augment` or `model.views`, its key, and its node."""
    for place, transforms in (("data.augment", stage.data.augment), ("model.views", stage.model.views or {})):
        yield from ((place, f"{prefix}{place}.{name}", node) for name, node in transforms.items() if node is not None)


def _check_views(prefix: str, model: ModelNode, allow: list[str]) -> None:
    takes = parameters_of(model.target, allow)
    if takes and ("views" in takes) != bool(model.views):
        how = (
            f"asks for views: choose {prefix}views=simclr, or signal_views or vector_views for such inputs"
            if "views" in takes
            else "takes no views: leave them out"
        )
        raise UserError(f"model={model.name} {how}.")


def _check_mixes(prefix: str, stage: Job | Pretraining, allow: list[str]) -> None:
    """Raise UserError for what mixes examples where it can't, or for a model that does not learn from them."""
    transforms = list(_transforms(prefix, stage))
    for at, (place, key, node) in enumerate(transforms):
        if not is_mix(node.target, allow):
            continue
        if place == "model.views":
            raise UserError(f"{key} mixes examples, and a view is of one: leave it out.")
        if behind := [other for kind, other, _ in transforms[at + 1 :] if kind == place]:
            last = behind[-1].rpartition(".")[2]
            raise UserError(f"{key} mixes examples, which comes last and once: put it behind {last}.")
        if kind_of(stage.model.target, allow) == "pretext":
            raise UserError(
                f"{key} mixes the targets of examples, and the pretext {stage.model.name} has none: leave it out."
            )
        if not learns_mixed(stage.model.target, allow):
            raise UserError(
                f"{key} mixes the targets of examples, and model={stage.model.name} does not say that it learns "
                "from such: leave it out, or let its loss be batch.over_targets and set mixes = True."
            )


def check_transforms(job: Job) -> None:
    """Raise UserError for a transform of other inputs than the data have, as far as both are known."""
    for prefix, stage in stages_of(job):
        data = stage.data
        if data.input_shape is None:
            continue
        noun = noun_of(data.input_shape)
        inputs = "pixels" if noun == "images" and not data.floats else noun
        for place, key, node in _transforms(prefix, stage):
            takes = said_by(node.target, "takes", job.allow)
            if not isinstance(takes, tuple | list) or inputs in takes:
                continue
            group = place.rpartition(".")[2]
            fits = FITTING[group].get(inputs)
            mend = f"choose {prefix}{group}={fits}" if fits else "leave it out"
            what = {"pixels": "8-bit images", "images": "images of floats"}.get(inputs, inputs)
            raise UserError(f"{key} is not for {what}, and {data.name} has {what}: {mend}.")
