"""The contract that labels of every kind fulfil."""

from __future__ import annotations

import pytest
import torch

from labelspace.labels import Label, Schema, binary, categorical, continuous

LABELS = [binary("a"), categorical("a", "xyz"), continuous("a", 3.0, 2.0)]
KINDS = pytest.mark.parametrize("label", LABELS, ids=lambda label: label.kind)


@KINDS
def test_a_label_fulfils_the_contract(label: Label) -> None:
    parameters = torch.randn(6, label.parameters, generator=torch.Generator().manual_seed(0))
    drawn = label.sample(parameters, torch.Generator().manual_seed(1))
    assert drawn.shape == label.mode(parameters).shape == label.entropy(parameters).shape == (6,)
    assert label.log_prob(parameters, drawn).shape == label.kl(parameters, parameters).shape == (6,)
    assert label.kl(parameters, parameters).abs().max() < 1e-6
    assert (label.log_prob(parameters, label.mode(parameters)) >= label.log_prob(parameters, drawn)).all()
    assert label.to_features(drawn).shape == label.relaxed(parameters, 0.5, None).shape == (6, label.features)
    assert label.moment_matched(label.candidates(), torch.zeros(6, len(label.candidates()))).shape == parameters.shape
    frequencies = label.frequencies(drawn.numpy())
    assert len(frequencies) == len(label.values)
    assert len(label.prior_features(frequencies)) == label.features
    assert len(label.prior_parameters(frequencies)) == label.parameters
    assert all(column.shape == (6,) for column in label.table(parameters).values())


@KINDS
def test_labels_are_equal_by_kind_and_content(label: Label) -> None:
    same = Schema.from_json(Schema([label]).to_json()).labels[0]
    assert same == label
    assert hash(same) == hash(label)
    assert sum(label == other for other in LABELS) == 1
