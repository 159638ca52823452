"""What an address says of a tab, and a tab that is made of an address."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelspace.errors import UserError
from labelspace.explorer import links
from labelspace.explorer.session import Session
from labelspace.explorer.steps import Drawn, MoveBlock, Redraw, Sample, SetLabel


def again(session: Session) -> Session:
    """A new tab at the address of another one."""
    query = links.query(session, {"block": "z"})
    assert query is not None
    other = Session(session.bench)
    links.restore(other, dict(parse_qsl(query)))
    return other


def same(one: Session, other: Session) -> None:
    assert other.sample.name == one.sample.name
    assert [a.step.about for a in other.steps] == [a.step.about for a in one.steps]
    torch.testing.assert_close(other.x, one.x)
    for name, code in one.state.codes.items():
        torch.testing.assert_close(other.state.codes[name], code)


@pytest.mark.parametrize("model", ["lsvae", "condvae", "ccvae", "vae"])
def test_an_address_leads_back_to_all_steps(model: str, vectors: str, session_of: Callable[..., Session]) -> None:
    session = Session(session_of(model, vectors, latent=4).bench)
    session.choose(session.of_data(session.bench.row("val:3")))
    block = session.bench.model.blocks[-1].name
    chart = session.bench.chart(block)
    session.apply(session.point_step(block, [(a + b) / 2 for a, b in zip(chart.low, chart.high, strict=True)]))
    if session.bench.model.labelled:
        session.apply(SetLabel("kind", "red"))
        session.apply(SetLabel("amount", 4.25))
    session.apply(Redraw(session.bench.model.blocks[0].name, 11))
    session.set_keep_detail(True)
    same(session, again(session))


def test_samples_that_were_drawn_typed_or_lent_are_in_it_too(vectors: str, session_of: Callable[..., Session]) -> None:
    session = Session(session_of("lsvae", vectors).bench)
    session.choose(session.drawn_sample(Drawn((("kind", "red"),), 4, 7, (("z", 3),), 2)))
    session.apply(SetLabel("on", 1))
    same(session, again(session))
    session.choose(session.typed(torch.tensor([0.1, 2, 3, 4, 5]), "my <row> & more", session.of_data(3).labels))
    session.donor = session.of_data(session.bench.row("test:2"))
    session.transfer("kind")
    other = again(session)
    same(session, other)
    assert session.bench.decoded(other.sample.labels) == session.bench.decoded(session.sample.labels)
    assert other.donor is not None
    assert other.donor.name == "test:2"


def test_a_picture_of_the_users_is_in_no_address(pictures: str, session_of: Callable[..., Session]) -> None:
    session = Session(session_of("lsvae", pictures).bench)
    assert links.query(session, {}) == "sample=test:0"
    session.choose(Sample("me.png", session.sample.x))
    assert links.query(session, {}) is None


@pytest.mark.parametrize(
    "state",
    [
        {"sample": "test:9999"},
        {"sample": '{"row":[1,2],"name":"short"}'},
        {"sample": '{"row":[1,2,3,4,1e999],"name":"endless"}'},
        {"sample": '{"drawn":{"values":[],"n":1000000,"seed":0,"redrawn":[],"index":0}}'},
        {"sample": '{"drawn":{"values":[["nothing",1]],"n":1,"seed":0,"redrawn":[],"index":0}}'},
        {"sample": '{"row":[1,2,3,4,1' + "0" * 400 + '],"name":"long"}'},
        {"sample": '{"row":[1,2,3,4,5],"name":"x","labels":{"kind":["red"]}}'},
        {"sample": '{"row":[1,2,3,4,5],"name":"x","labels":{"kind":"violet"}}'},
        {"steps": "[" * 5000},
        {"steps": '[["set","nobody",1]]'},
        {"steps": '[["set","kind","violet"]]'},
        {"steps": '[["move","w.kind",[1]]]'},
        {"steps": '[["move","w.kind",[1,NaN]]]'},
        {"steps": '[["redraw","z",-1]]'},
        {"steps": '[["take","kind",{"row":"x"}]]'},
        {"steps": '[["fly"]]'},
        {"steps": str([["set", "on", 1]] * 300).replace("'", '"')},
        {"donor": "{"},
    ],
)
def test_an_address_of_something_else_is_refused_in_one_line(
    state: dict[str, str], vectors: str, session_of: Callable[..., Session]
) -> None:
    session = Session(session_of("lsvae", vectors).bench)
    with pytest.raises(UserError) as refused:
        links.restore(session, state)
    assert "\n" not in str(refused.value)
    assert session.x.isfinite().all()  # and the tab goes on
    session.apply(MoveBlock("z", (0.0,) * session.bench.model.blocks.named("z").size))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["set", "move", "take", "redraw"]), st.sampled_from(["on", "kind", "w.kind", "z"]), _JSON),
        max_size=3,
    )
)
def test_steps_that_strangers_write_are_done_or_refused(
    steps: list[tuple[str, str, object]], vectors: str, session_of: Callable[..., Session]
) -> None:
    session = Session(session_of("lsvae", vectors).bench)
    with suppress(UserError):
        links.restore(session, {"steps": json.dumps(steps)})
    assert len(session.steps) <= len(steps)
