"""Registry of fusions: equation, network layer, and the features and models that each fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocols.errors import UserError, did_you_mean

#: Remedy where `cross-attention` is given something else than two views of an item.
TWO_VIEWS = "join two extractors, the coarse view first: --extractor concat:captions+titles"
EXPERTS = ("moe", "moe-user")
LAYERS = ("last", "uniform", "softmax", *EXPERTS)
#: The readout of one layer that stands for an item where none is named.
READOUT = "mean"


@dataclass(frozen=True)
class FusionKind:
    """One way to make the vector x of an item from its id vector e and its content vector v.

    Attributes
    ----------
    name
        As users write it.
    layer
        Its class in `recommenders.encoder.fusion_layers`, by name: this registry is read without torch.
    summary
        Equation and source.
    uses_ids, uses_content
        Whether e and v exist.
    parts
        Number of pieces that x is made of; e and v are one each.
    views
        Feature vectors of an item that v is made of.
    from_ids
        Whether v starts at zero, so that training begins with the model of ids alone and learns what content adds. It
        is so where nothing in the equation can take v back: vectors without information would stay there as noise.
    handicap
        Loss against ids alone that is the equation's own, whatever the features say; "": none.
    code_version
        Bumped when what it computes changes, so that older results are not taken for its own.
    """

    name: str
    layer: str
    summary: str
    uses_ids: bool = True
    uses_content: bool = True
    parts: int = 1
    views: int = 1
    from_ids: bool = False
    handicap: str = ""
    code_version: int = 1

    @property
    def features(self) -> str:
        """Features that it takes, for users."""
        if not self.uses_content:
            return "none"
        if self.views == 2:
            return "two views of an item, as in --extractor concat:captions+titles"
        return f"one vector an item; layers as {self.name}/12, /{', /'.join(LAYERS)}"

    @property
    def models(self) -> str:
        """Models that it fits, for users."""
        if not self.uses_content or self.views == 2:
            return "trained ones"
        more = "" if self.uses_ids else f"; {self.name}, /12, /last: those without ids, too"
        return f"trained ones; /moe-user: those that read the history{more}"


#: By name.
FUSIONS = {
    kind.name: kind
    for kind in (
        FusionKind("id", "IdOnly", "x = e.", uses_content=False),
        FusionKind("replace", "Replace", "x = v.", uses_ids=False),
        FusionKind("add", "Add", "x = e + v; v starts at zero.", from_ids=True, code_version=2),
        FusionKind(
            "gate",
            "Gate",
            "x = g * e + (1 - g) * v with g = sigmoid(W [e; v] + b), the gate of DFF (arXiv 2512.21863).",
        ),
        FusionKind(
            "concat",
            "Concat",
            "x = [e; v], each of half the width, as in VBPR (arXiv 1510.01784); v starts at zero.",
            parts=2,
            from_ids=True,
            handicap="ids have half of the width",
            code_version=2,
        ),
        FusionKind(
            "late-gate",
            "LateGate",
            "x = z * v + (1 - z) * e with z = sigmoid(W [v; e]), the late fusion of NoteLLM-2 (arXiv 2405.16789).",
        ),
        FusionKind(
            "self-gate",
            "SelfGate",
            "x = e + sigmoid(f) * f with f = W v, the self-gated fusion of CREMA (arXiv 2402.05889); v starts at zero.",
            from_ids=True,
            code_version=2,
        ),
        FusionKind(
            "cross-attention",
            "Replace",
            "x = v, made of two views of an item by cross-attention, after DMESR (arXiv 2602.13715).",
            uses_ids=False,
            views=2,
        ),
    )
}


@dataclass(frozen=True)
class Fusion:
    """A fusion as written: `KIND`, or `KIND/LAYERS[@READOUT]` for features of kind `layers`.

    Attributes
    ----------
    kind
        One of `FUSIONS`.
    layers
        How a content vector comes out of layers: `last` or a number (that layer), `uniform` (their mean), `softmax`
        (learned global weights, DFF), `moe` (an expert a layer and weights for each item, after LinkedOut), `moe-user`
        (the same experts, weights for each user); "": the features are one vector already.
    top
        Written `moe:2`: each item (or user) keeps its two heaviest layers alone; 0: what the model's `layers_top` says.
    readout
        Which readout of a layer; "" for `READOUT` where there is one, else the first. `moe` and `moe-user` take all.

    Examples
    --------
    >>> Fusion.parse("gate"), Fusion.parse("gate/softmax@visual")
    (Fusion(kind='gate', layers='', readout='', top=0), Fusion(kind='gate', layers='softmax', readout='visual', top=0))
    """

    kind: str
    layers: str = ""
    readout: str = ""
    top: int = 0

    @classmethod
    def parse(cls, text: str) -> Fusion:
        """Read what a user wrote.

        Raises
        ------
        UserError
            If a part of it is unknown (did you mean ...).
        """
        kind, slash, rest = text.partition("/")
        way, _, readout = rest.partition("@")
        layers, colon, top = way.partition(":")
        if kind not in FUSIONS:
            raise did_you_mean("fusion", kind, FUSIONS)
        if slash and not layers.lstrip("-").isdigit() and layers not in LAYERS:
            raise did_you_mean("way to choose among layers", layers, (*LAYERS, "a layer's number"))
        if colon and (layers not in EXPERTS or not re.fullmatch("[1-9][0-9]{0,3}", top)):
            raise UserError(f"fusion {text!r}: expected a number of layers to keep, as in {kind}/moe:2")
        return cls(kind, layers, readout, int(top or 0))

    def __str__(self) -> str:
        """As written."""
        layers = self.layers + (f":{self.top}" if self.top else "")
        return self.kind + (f"/{layers}" if layers else "") + (f"@{self.readout}" if self.readout else "")

    @property
    def layer(self) -> int | None:
        """The one layer that is chosen (-1: the last), or None."""
        if self.layers == "last":
            return -1
        return int(self.layers) if self.layers.lstrip("-").isdigit() else None

    def chosen_readout(self, readouts: Sequence[str]) -> str:
        """Return the readout that is meant, among those that there are."""
        return self.readout or (READOUT if READOUT in readouts else readouts[0])


def kind_of(fusion: str) -> FusionKind:
    """Return the kind of a fusion as records write it; `id` for `-`, of models without features, and unknown ones."""
    return FUSIONS.get(fusion.partition("/")[0], FUSIONS["id"])


class Model(Protocol):
    """The facts of a recommender that decide which fusions it can do; see `recommenders.base.Recommender`."""

    @property
    def name(self) -> str:
        """As users write it."""

    @property
    def only_fusion(self) -> str:
        """The one fusion of a model without an item encoder; "": it has one."""

    @property
    def user_layers(self) -> bool:
        """True if it can weigh layers by user."""


def check(fusion: Fusion, model: Model, extractor: str, feature: str, views: int) -> None:
    """Refuse a fusion that a model cannot do, or that cannot take what an extractor makes.

    Parameters
    ----------
    extractor
        As typed.
    feature
        Kind of its features: `vector`, `layers`, or `-` for none, which stands for the fusion `id`.
    views
        Number of extractors that it joins; 1: itself alone.

    Raises
    ------
    UserError
        With the fusion or extractor to choose instead.
    """
    if feature == "-":
        check_model(Fusion("id"), model)
        return
    check_model(fusion, model)
    if not FUSIONS[fusion.kind].uses_content:
        *others, last = (kind.name for kind in FUSIONS.values() if kind.uses_content)
        raise UserError(
            f"extractor {extractor!r} makes features, but fusion {fusion.kind!r} uses none",
            remedy=f"choose --fusion {', '.join(others)} or {last}, or --extractor id",
        )
    check_views(fusion, f"extractor {extractor!r}", views)
    if feature == "layers" and not fusion.layers:
        raise UserError(
            f"extractor {extractor!r} makes a vector for each layer of a model, and fusion {str(fusion)!r} does not "
            "say what becomes of the layers",
            remedy=f"write --fusion {fusion}/softmax, or /last, /12 (that layer), /uniform, /moe",
        )
    if feature != "layers" and fusion.layers:
        raise UserError(
            f"extractor {extractor!r} makes one vector an item: there are no layers to choose among",
            remedy=f"write --fusion {fusion.kind}",
        )


def check_model(fusion: Fusion, model: Model) -> None:
    """Refuse a fusion that a model cannot do.

    Raises
    ------
    UserError
        With the fusion or model to choose instead.
    """
    only = model.only_fusion
    if only and (fusion.kind != only or (fusion.layers and fusion.layer is None)):
        raise UserError(
            f"{model.name} takes one vector of features an item, in one way: fusion {str(fusion)!r} makes no sense",
            remedy=f"choose --fusion {only} (of layers one: {only}/last, {only}/12) and an extractor of features",
        )
    if fusion.layers == "moe-user" and not model.user_layers:
        raise UserError(
            f"model {model.name!r} has no vector of a history, so layers cannot be weighed by user",
            remedy=f"choose a sequential model, or --fusion {fusion.kind}/moe",
        )


def check_views(fusion: Fusion, source: str, views: int) -> None:
    """Refuse features of another number of views than `cross-attention` takes.

    Raises
    ------
    UserError
        With the extractor to choose instead.
    """
    if FUSIONS[fusion.kind].views == 2 != views:
        raise UserError(f"fusion {fusion.kind!r} takes two views of an item, and {source} holds {views}", TWO_VIEWS)
