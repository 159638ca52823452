"""What is wrong with a trained model, in plain words, with the remedy.

Reads what :func:`labelspace.evaluation.whole.evaluate` measured and the last line of a run's metrics, and does not ask which
model it was. Alarms: a label that edits do not change, a block that tells what it should not, a block that has collapsed, a
weight that is not felt or drowns the rest, poor reconstructions, and a judge that cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from labelspace.evaluation.judge import SURE
from labelspace.evaluation.probing import Of, said

Kind = Literal[
    "label ignored", "leakage", "collapse", "ill-scaled weight", "weak judge", "poor reconstruction", "unmet constraint"
]

# A judge below this balanced accuracy cannot be trusted about a label; edits below this rate have not done what was asked;
# a reader this far above chance (as a share of the way to certainty) reads the label; a term below this share of the objective
# is not felt, a KL above this one drowns it.
TRUSTED, DONE, READS, UNFELT, DROWNS = 0.95, 0.8, 0.3, 1e-5, 0.9
_NOTHING = 0.05  # nats: a term below this has nothing left to be weighed


@dataclass(frozen=True)
class Finding:
    """One alarm.

    Attributes:
        kind: which of the alarms.
        where: the label, block or term that it is about.
        what: what was measured, in a sentence.
        remedy: what to try.
    """

    kind: Kind
    where: str
    what: str
    remedy: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def diagnose(found: dict[str, Any], metrics: list[dict[str, Any]] = ()) -> list[Finding]:  # type: ignore[assignment]
    """All alarms of an evaluation.

    Args:
        found: what :func:`labelspace.evaluation.whole.evaluate` returned.
        metrics: lines of the run's ``metrics.jsonl``; without them weights are not looked at.
    """
    judge = found.get("judge", {})
    return [
        *_weak_judge(judge),
        *_ignored(found.get("manipulation", {}).get("labels", {}), judge, found.get("leakage", {})),
        *_leaks(found.get("leakage", {})),
        *_collapsed(found.get("blocks", {})),
        *(_weights(metrics[-1]) if metrics else ()),
        *(_unmet(metrics[-1]) if metrics else ()),
        *_reconstruction(found.get("likelihood", {})),
    ]


def trusted(score: dict[str, Any]) -> bool:
    """Whether a judge with such a score of a label can be trusted about it, edits included."""
    truths = score.get("truths")
    return score["value"] >= TRUSTED and (truths is None or truths["value"] >= SURE)


def _weak_judge(judge: dict[str, Any]) -> list[Finding]:
    out = []
    remedy = "do not trust its verdicts on this label; more samples, or labels with fewer mistakes, make a better judge"
    for name, score in judge.items():
        if trusted(score):
            continue
        if score["value"] < TRUSTED:
            what = f"the judge itself reads {name} off real samples in {score['value']:.1%} (balanced), below {TRUSTED:.0%}"
        else:
            read = score["truths"]["value"]
            what = f"no judge of edits: it reads {name} off true counterfactuals in {read:.1%}, below {SURE:.0%}"
        out.append(Finding("weak judge", name, what, remedy))
    return out


def _ignored(labels: dict[str, Any], judge: dict[str, Any], leakage: dict[str, Any]) -> list[Finding]:
    out = []
    for name, row in labels.items():
        reached, before = row["judge"]["value"], row["doing_nothing"]["value"]
        ceiling = judge.get(name, {}).get("value", 1.0)
        if reached >= DONE * ceiling:
            continue
        free = leakage.get(name, {}).get("free")
        carried = free is not None and excess(free, leakage[name], "draws") > READS
        why = (
            "the free block tells the label too, so the decoder need not listen to the label's own"
            if carried
            else ("the decoder does not listen to the label's block")
        )
        out.append(
            Finding(
                "label ignored",
                name,
                f"setting {name} is read by the judge in {reached:.1%} ({before:.1%} without any edit): {why}",
                "raise the weight that keeps the label out of the free block (leak, info), give the free block fewer "
                "coordinates (latent), loosen the likelihood (scale), or use a model that finds its weights (lsvae)",
            )
        )
    return out


def excess(read: dict[str, Any], row: dict[str, Any], of: Of) -> float:
    """How far a reader of a label is from chance to certainty; an R^2 is that already. ``row`` holds all that is told of it."""
    return _above(said(read, of)["value"], row)


def _above(value: float, row: dict[str, Any]) -> float:
    return value if "chance" not in row else (value - row["chance"]) / (1 - row["chance"])


def leaks(leakage: dict[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """How far a fresh reader reads labels off what is not theirs, beyond what labels that go together tell of each other.

    Args:
        leakage: what was measured of it: label name -> place -> scores.

    Yields:
        The label, the place ("free", or "other." and the label whose block it is), and how far from chance (0) to certainty:
        from draws, which the decoder gets, and from mean codes, which are written out.
    """
    for name, row in leakage.items():
        for place, read in row.items():
            if place != "free" and not place.startswith("other."):
                continue
            alike = read.get("together")  # labels that go together are read off each other's blocks as far
            by_itself = max(0.0, _above(alike["value"], row)) if alike else 0.0
            yield name, place, excess(read, row, "draws") - by_itself, excess(read, row, "means") - by_itself


def _leaks(leakage: dict[str, Any]) -> list[Finding]:
    """What blocks tell that they should not: to the decoder (draws), or only to who reads what is written out (means)."""
    out = []
    for name, place, drawn, written in leaks(leakage):
        if max(drawn, written) <= READS:
            continue
        shown = "the free block" if place == "free" else f"the block of {place.removeprefix('other.')}"
        if drawn > READS:
            what = f"a fresh reader says {name} from draws of {shown}, which the decoder gets, {drawn:.0%} of the way"
            remedy = (
                "raise the weight of the adversary (leak, info), let it step more often (adversary_steps), or use lsvae; in a "
                "model without one nothing keeps labels out of it (labelspace models: adversaries)"
                if place == "free"
                else f"give that block fewer coordinates (subspace); check in the data whether {name} goes with "
                f"{place.removeprefix('other.')}: then it cannot be told apart from it"
            )
        else:
            what = (
                f"a fresh reader says {name} from mean codes of {shown}, {written:.0%} of the way (from draws "
                f"{max(0.0, drawn):.0%})"
            )
            remedy = (
                "the decoder does not get it, but who is given these codes can read it: hand out draws (labelspace embed "
                "--draw)"
            )
        out.append(Finding("leakage", name, f"{what} from chance to certainty", remedy))
    return out


def _collapsed(blocks: dict[str, Any]) -> list[Finding]:
    return [
        Finding(
            "collapse",
            name,
            f"block {name} carries nothing: {row['active']} of {row['size']} coordinates vary"
            + ("" if row["kl"] is None else f", {row['kl']['value']:.3f} nats"),
            "lower the weight of its KL, or let it rise from 0 (linear:0->1@5); tighten the likelihood (scale)",
        )
        for name, row in blocks.items()
        if row["collapsed"]
    ]


def _unmet(last: dict[str, Any]) -> list[Finding]:
    """What the model itself could not keep out of a code."""
    return [
        Finding(
            "unmet constraint",
            remark.partition(" ")[0],
            remark,
            "the labels go together in the data, or blocks are too small for their styles: raise subspace, or leave one out",
        )
        for remark in last.get("remarks", ())
    ]


def _weights(last: dict[str, Any]) -> list[Finding]:
    """Terms that the objective does not feel, and KLs that drown the reconstruction."""
    terms = last["val"] or last["train"]
    weights = last["weights"]
    felt = {
        name: abs(weights.get(name, 1.0) * value)
        for name, value in terms.items()
        if "." not in name and name not in last.get("readers", ())
    }
    total = sum(felt.values())
    if not total:
        return []
    out = []
    for name, size in felt.items():
        if name != "reconstruction" and abs(terms[name]) > _NOTHING and weights.get(name, 1.0) != 0 and size < UNFELT * total:
            out.append(
                Finding(
                    "ill-scaled weight",
                    name,
                    f"term {name} is {terms[name]:.3g} nats at weight {weights.get(name, 1.0):.3g}: {size / total:.1e} of "
                    f"the objective",
                    f"nothing is learnt from it; raise {name}, or the likelihood's scale, by a factor of ten at a time",
                )
            )
        if name.startswith("kl") and size > DROWNS * total:
            out.append(
                Finding(
                    "ill-scaled weight",
                    name,
                    f"term {name} is {size / total:.0%} of the objective",
                    f"reconstruction is hardly heard beside it; lower {name} (or beta) by a factor of ten at a time",
                )
            )
    return out


def _reconstruction(likelihood: dict[str, Any]) -> list[Finding]:
    row = likelihood.get("reconstruction_error")
    if not row or row["variance"] == 0 or row["value"] < 0.5 * row["variance"]:
        return []
    share = row["value"] / row["variance"]
    return [
        Finding(
            "poor reconstruction",
            "x",
            f"the squared error of reconstructions is {share:.0%} of the data's variance",
            "train longer, tighten the likelihood (scale), or lower the weights of the KLs",
        )
    ]
