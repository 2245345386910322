"""What can be measured of a finished run: the `evaluation` group. Its files combine, each is a measure by its name."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from aetransfer.config.instantiate import said_by
from aetransfer.config.nodes import ByWord, Target
from aetransfer.errors import UserError

MEASURE = "aetransfer.evaluation.measure.Measure"
NEEDS = {
    "reconstruct": "reconstructs its inputs",
    "decode": "decodes codes",
    "sample": "draws samples",
    "posterior": "gives a posterior",
    "classify": "tells classes apart",
    "regress": "predicts values",
    "label": "tells which labels are there",
}
# What a node without `_target_` is: earlier versions wrote none.
WITHOUT_TARGET = {
    "probes": "aetransfer.evaluation.probes.Probes",
    "reconstruction": "aetransfer.evaluation.reconstruction.Reconstruction",
    "vae": "aetransfer.evaluation.variational.Variational",
    "fid": "aetransfer.evaluation.fid.Fid",
    "representation": "aetransfer.evaluation.representation.Representation",
    "transferability": "aetransfer.evaluation.transferability.Transferability",
    "classifier": "aetransfer.evaluation.predictions.Classification",
}


def _with_targets(nodes: Any) -> Any:
    if not isinstance(nodes, dict):
        return nodes
    return {
        name: {"_target_": WITHOUT_TARGET[name], **node}
        if isinstance(node, dict) and name in WITHOUT_TARGET and "_target_" not in node
        else node
        for name, node in nodes.items()
    }


Measures = Annotated[dict[str, Target | None], BeforeValidator(_with_targets), ByWord]


def chosen(measures: Mapping[str, Target | None]) -> dict[str, Target]:
    """Return the node of each measure to take, by its name."""
    return {name: node for name, node in measures.items() if node is not None}


def needs_of(node: Target, allow: Sequence[str]) -> str | None:
    """Return what a measure needs of a model, as far as its source tells; None where it does not."""
    needs = said_by(node.target, "needs", allow)
    return needs if isinstance(needs, str) else None


def check_needs(name: str, needs: str | None, can: Collection[str] | None, title: str) -> None:
    """Raise UserError for a measure that a model does not have.

    needs: see `aetransfer.evaluation.measure.Measure`. can: as in `aetransfer.models.facts.ModelFacts`. Of either, None
    says that nobody knows, and refuses nothing. title: of the model.
    """
    if needs and can is not None and needs not in can:
        raise UserError(
            f"evaluation={name} needs a model that {NEEDS.get(needs, needs)}, and this run's ({title}) does not: "
            "leave it out."
        )
