"""The state of a tab as the query of an address, and back: a page that is loaded again, or sent to someone, shows it again.

``sample`` is a sample's name; or, as JSON, how it was drawn or the row that was typed. ``steps`` is a JSON list of
``["set", label, value]``, ``["move", block, point of its map]``, ``["take", label, sample]`` and ``["redraw", block, seed]``.
A picture that was uploaded is in no address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, urlencode

import torch

from labelspace.errors import UserError
from labelspace.explorer.session import Session
from labelspace.explorer.steps import Drawn, MoveBlock, Redraw, Sample, SetLabel, Step, TakeFrom
from labelspace.interventions.given import labels_of

_LONGEST = 6000  # characters of an address that all browsers and proxies take
_MOST_STEPS = 200
_LARGEST = 1e30
_NOT_ONE = "this address does not describe a state of this run"


def query(session: Session, page: Mapping[str, str]) -> str | None:
    """The query of a tab's address, without the question mark; None where the sample cannot be in one.

    Args:
        session: the tab.
        page: what is shown of it: other parameters.
    """
    sample = _said(session, session.sample)
    if sample is None:
        return None
    donor = _said(session, session.donor) if session.donor is not None else None
    steps = [_step(session, applied.step, applied.result) for applied in session.steps]
    if None in steps:  # a donor that no address can hold
        return None
    usual = session.bench.model.likelihood.keeps_detail
    found = {
        "sample": _text(sample),
        **({"donor": _text(donor)} if donor is not None else {}),
        **({"steps": json.dumps(steps, ensure_ascii=False, separators=(",", ":"))} if steps else {}),
        **({} if session.keep_detail == usual else {"detail": str(int(session.keep_detail))}),
        **page,
    }
    out = urlencode(found, quote_via=quote, safe=":,[]()@!*")
    return out if len(out) <= _LONGEST else None


def restore(session: Session, given: Mapping[str, str]) -> None:
    """Brings a tab to the state that an address describes; what it says nothing of is as in a new tab, but for the donor.

    Raises:
        UserError: it describes none; the tab is in the last state that could be reached.
    """
    session.reset()
    session.set_keep_detail(given["detail"] == "1" if "detail" in given else session.bench.model.likelihood.keeps_detail)
    session.choose(_sample(session, given["sample"]) if given.get("sample") else session.first())
    if given.get("donor"):
        session.donor = _sample(session, given["donor"])
    if given.get("steps"):
        steps = _json(given["steps"])
        if not isinstance(steps, list) or len(steps) > _MOST_STEPS:
            raise UserError(f"{_NOT_ONE}: steps are a list of up to {_MOST_STEPS}")
        for step in steps:
            session.apply(_read_step(session, step))


def is_number(given: Any) -> bool:
    """Whether something that a stranger may have written is a number that can be computed with."""
    return isinstance(given, int | float) and abs(given) < _LARGEST


def _text(sample: str | dict[str, Any]) -> str:
    return sample if isinstance(sample, str) else json.dumps(sample, ensure_ascii=False, separators=(",", ":"))


def _said(session: Session, sample: Sample) -> str | dict[str, Any] | None:
    if sample.drawn is not None:
        return {"drawn": asdict(sample.drawn)}
    if sample.row is not None:
        return sample.name
    if sample.x.ndim != 1:
        return None
    row = [None if v != v else float(f"{v:.9g}") for v in sample.x.tolist()]
    known = {name: value for name, value in session.bench.decoded(sample.labels).items() if value is not None}
    return {"name": sample.name, "row": row, **({"labels": known} if known else {})}


def _step(session: Session, step: Step, result: Any) -> list[Any] | None:
    match step:
        case SetLabel():
            return ["set", step.label, step.value]
        case MoveBlock():
            return ["move", step.block, list(session.where(step.block, result))]
        case Redraw():
            return ["redraw", step.block, step.seed]
        case TakeFrom():
            donor = _said(session, step.donor)
            return None if donor is None else ["take", step.label, donor]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{_NOT_ONE}: {text[:60]!r} is not JSON") from None


def _sample(session: Session, given: Any) -> Sample:
    """A sample by what an address says of it."""
    if isinstance(given, str) and not given.startswith("{"):
        return session.of_data(session.bench.row(given))
    found = _json(given) if isinstance(given, str) else given
    match found:
        case {"drawn": {"values": list(values), "n": int(n), "seed": int(seed), "redrawn": list(redrawn), "index": int(i)}}:
            try:
                how = Drawn(tuple((str(a), b) for a, b in values), n, seed, tuple((str(a), int(b)) for a, b in redrawn), i)
            except (TypeError, ValueError):
                raise UserError(f"{_NOT_ONE}: {str(found)[:60]}") from None
            return session.drawn_sample(how)
        case {"row": list(row), "name": str(name)} if all(v is None or is_number(v) for v in row):
            labels = found.get("labels")
            if not isinstance(labels, dict | None) or any(isinstance(v, list | dict) for v in (labels or {}).values()):
                raise UserError(f"{_NOT_ONE}: labels are a value by name")
            x = torch.tensor([float("nan") if v is None else float(v) for v in row])
            return session.typed(x, name[:80], labels_of(session.bench.model, labels, 1))
    raise UserError(f"{_NOT_ONE}: {str(found)[:60]!r} is not a sample")


def _read_step(session: Session, given: Any) -> Step:
    match given:
        case ["set", str(label), str() | int() | float() as value]:
            return SetLabel(label, session.bench.model.schema[label].format(session.bench.model.asked(label, value)))
        case ["move", str(block), list(point)] if all(map(is_number, point)):
            session.bench.model.blocks.named(block)
            return session.point_step(block, point)
        case ["redraw", str(block), int(seed)] if 0 <= seed < 2**63:
            session.bench.model.blocks.named(block)
            return Redraw(block, seed)
        case ["take", str(label), donor]:
            return TakeFrom(label, _sample(session, donor))
    raise UserError(f"{_NOT_ONE}: {str(given)[:60]} is not a step")
