"""A probe learns refusal and not the topic; its file is what its hash says; it stays with its model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fitness.cliff.probe import About, Probe, read, write
from fitness.cliff.training import Labelled, auroc, cell_weights, fit, train
from workers.interface import ConfigError, EngineDescription

DESCRIPTION = EngineDescription("transformers", "m", "r1", "t1", "float32", "cpu", 2048)
WIDTH = 24
N_TOPICS = 8


def _labelled(seed: int = 0, *, crossed: bool = True, per_cell: int = 6) -> Labelled:
    """Two layers: in the first, states tell the topic's harm loudly and refusal not at all; in the second
    refusal too. `crossed`: harmful ones are answered too, harmless ones refused too."""
    rng = np.random.default_rng(seed)
    refused, harmful, topics = [], [], []
    for t in range(N_TOPICS):
        for harm in (False, True):
            for i in range(per_cell):
                sides = i % 3 == 0 if crossed else False
                refused.append(harm != sides)
                harmful.append(harm)
                topics.append(f"topic {t}")
    y, h = np.array(refused), np.array(harmful)
    of_topic = rng.normal(size=(N_TOPICS, WIDTH)) * 2
    base = of_topic[[int(t.split()[1]) for t in topics]] + rng.normal(size=(len(y), WIDTH)) * 0.4
    base[:, 0] += 3.0 * h
    states = np.stack([base, base.copy()], axis=1)
    states[:, 1, 1] += 4.0 * y
    return Labelled(states.astype(np.float32), (3, 7), y, h, tuple(topics))


def test_the_layer_that_tells_refusal_is_chosen_and_the_harm_of_a_request_is_not_learned() -> None:
    data = _labelled()
    probe = train(data, DESCRIPTION, n_layers=9)
    assert probe.about.layer == 7
    by_layer = {q.layer: q for q in probe.layers}
    assert by_layer[7].auroc > 0.95
    assert by_layer[7].held_out > 0.95
    assert by_layer[3].auroc < 0.75
    assert abs(probe.weight[0]) < 0.2 * abs(probe.weight[1])
    assert set(probe.held_out) < set(data.topics)


def test_labels_that_follow_the_topic_alone_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="harmful requests that were answered") as error:
        train(_labelled(crossed=False), DESCRIPTION, n_layers=9)
    assert "\n" not in str(error.value)


def test_knowing_the_cell_alone_is_worth_one_half() -> None:
    data = _labelled()
    weights = cell_weights(data.refused, data.harmful, data.topics)
    assert auroc(data.refused, data.harmful.astype(float), weights) == pytest.approx(0.5)


@given(st.integers(0, 999), st.integers(2, 40))
def test_weights_balance_every_cell(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    refused, harmful = rng.random(n) < 0.4, rng.random(n) < 0.5
    topics = [f"{i}" for i in rng.integers(3, size=n)]
    weights = cell_weights(refused, harmful, topics)
    for topic in set(topics):
        for harm in (True, False):
            cell = (np.array(topics) == topic) & (harmful == harm)
            one, other = weights[cell & refused].sum(), weights[cell & ~refused].sum()
            assert one == pytest.approx(other)
            if (cell & refused).any() and (cell & ~refused).any():
                smaller = min((cell & refused).sum(), (cell & ~refused).sum())
                assert one == pytest.approx(smaller)


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(60, 8)) * 5 + 2
    refused = (states[:, 0] + rng.normal(size=60) * 4) > 2
    weights = rng.uniform(0.1, 1, size=60)
    weight, bias = fit(states, refused, weights, 0.1)
    share = weights / weights.sum()
    mean = share @ states
    spread = np.sqrt(share @ (states - mean) ** 2)
    theirs = LogisticRegression(C=1 / 0.1, tol=1e-10, max_iter=10_000)
    theirs.fit((states - mean) / spread, refused, sample_weight=share)
    wanted = theirs.decision_function((states - mean) / spread)
    assert states @ weight + bias == pytest.approx(wanted, abs=1e-3)


@given(st.integers(0, 999))
def test_the_auroc_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds, weights = rng.integers(5, size=20).astype(float), rng.uniform(0.1, 1, size=20)
    refused = np.r_[True, False, rng.random(18) < 0.5]
    wanted = roc_auc_score(refused, odds, sample_weight=weights)
    assert auroc(refused, odds, weights) == pytest.approx(wanted)


def test_a_component_that_never_varies_says_nothing() -> None:
    data = _labelled()
    states = data.states.copy()
    states[:, :, 5] = 1000.0
    probe = train(replace(data, states=states), DESCRIPTION, n_layers=9)
    assert probe.weight[5] == 0.0


def test_a_layer_that_was_named_is_taken() -> None:
    assert train(_labelled(), DESCRIPTION, n_layers=9, layer=3).about.layer == 3
    with pytest.raises(ConfigError, match="--layer 4"):
        train(_labelled(), DESCRIPTION, n_layers=9, layer=4)


# Its file and its model


def _probe() -> Probe:
    return train(_labelled(), DESCRIPTION, n_layers=9)


def test_a_probe_comes_back_from_its_folder_with_its_version(tmp_path: Path) -> None:
    probe = _probe()
    write(probe, tmp_path)
    again = read(tmp_path)
    assert again.version == probe.version
    assert again.about == probe.about
    assert again.layers == probe.layers
    states = np.random.default_rng(0).normal(size=(4, WIDTH))
    assert np.array_equal(again.scores(states), probe.scores(states))


def test_the_scores_are_those_of_float64(tmp_path: Path) -> None:
    probe = _probe()
    states = np.random.default_rng(0).normal(size=(50, WIDTH)).astype(np.float32) * 30
    exact = states.astype(np.float64) @ probe.weight.astype(np.float64) + probe.bias
    assert probe.scores(states) == pytest.approx(1 / (1 + np.exp(-exact)), abs=1e-5)


def test_a_changed_probe_is_not_read(tmp_path: Path) -> None:
    write(_probe(), tmp_path)
    facts = json.loads((tmp_path / "probe.json").read_text())
    facts["about"]["layer"] = 3
    (tmp_path / "probe.json").write_text(json.dumps(facts))
    with pytest.raises(ConfigError, match="hash"):
        read(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99}', "\x00"])
def test_a_folder_that_holds_no_probe_is_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match="no probe"):
        read(tmp_path / "nowhere")
    write(_probe(), tmp_path)
    (tmp_path / "probe.json").write_text(content)
    with pytest.raises(ConfigError, match="PROBE") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [0, 4, 60])
def test_arrays_that_are_cut_short_are_one_line(tmp_path: Path, cut: int) -> None:
    write(_probe(), tmp_path)
    arrays = tmp_path / "probe.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:cut])
    with pytest.raises(ConfigError, match="PROBE"):
        read(tmp_path)


def test_a_probe_is_refused_on_another_model_and_layer() -> None:
    probe = _probe()
    probe.require(DESCRIPTION, n_layers=9, width=WIDTH)
    probe.require(replace(DESCRIPTION, model="/elsewhere/m"), n_layers=9, width=WIDTH)
    for other in ({"revision": "r2"}, {"template": "t2"}, {"adapter": "a"}):
        with pytest.raises(ConfigError, match="evocliff cliff train"):
            probe.require(replace(DESCRIPTION, **other), n_layers=9, width=WIDTH)
    with pytest.raises(ConfigError, match="9 layers of 24"):
        probe.require(DESCRIPTION, n_layers=12, width=WIDTH)
    with pytest.raises(ConfigError, match="reads layer 7, not 3"):
        probe.require_layer(3)
    probe.require_layer(7)


def test_the_version_tells_apart_whom_it_is_of_and_what_it_says() -> None:
    probe = _probe()
    other_model = replace(probe, about=replace(probe.about, revision="r2"))
    other_weight = replace(probe, weight=probe.weight + np.float32(1e-3))
    other_bias = replace(probe, bias=probe.bias + 0.5)
    versions = {p.version for p in (probe, other_model, other_weight, other_bias)}
    assert len(versions) == 4


def test_a_probe_is_of_numbers() -> None:
    about = About("m", "r", None, "t", 2, 3, 1)
    with pytest.raises(ValueError, match="finite"):
        Probe(about, np.array([1.0, np.nan, 0.0], dtype=np.float32), 0.0)
    with pytest.raises(ValueError, match="states of 3"):
        Probe(about, np.zeros(4, dtype=np.float32), 0.0)
