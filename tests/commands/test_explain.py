"""``labelspace explain`` as a user meets it."""

from __future__ import annotations

from labelspace import glossary
from labelspace.cli import main


def test_the_command_explains_terms_as_text_and_as_data(capsys, strict, fails) -> None:
    assert main(["explain", "kl_w.Beard", "floor"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("kl_w.Beard: kl_w  (loss terms")
    assert "nats" in told
    assert "floor  (training options; docs/training.md)" in told
    assert main(["explain", "--json", "leak"]) == 0
    assert strict(capsys.readouterr().out)[0]["group"] == glossary.TERMS
    assert main(["explain"]) == 0
    everything = capsys.readouterr().out
    assert all(entry.term in everything for entry in glossary.entries())
    fails(["explain", "kl_v"], "unknown term 'kl_v'; did you mean")
