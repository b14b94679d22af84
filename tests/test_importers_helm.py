"""Folders of HELM runs, written by the schema of crfm-helm 0.5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovcore.importers import read_helm

TYPOS = {"name": "typos", "robustness": True, "computed_on": "perturbed", "prob": 0.1}


def instance(name: str, right: int | None, n: int = 3, **more: Any) -> dict[str, Any]:
    references = [
        {"output": {"text": f"choice {i}"}, "tags": ["correct"] if i == right else []}
        for i in range(n)
    ]
    return {"id": name, "input": {"text": "?"}, "references": references, "split": "test", **more}


def joint(one: dict[str, Any], text: str, trial: int = 0) -> dict[str, Any]:
    """A request that shows all references, as (A), (B), ..."""
    mapping = {chr(65 + i): r["output"]["text"] for i, r in enumerate(one["references"])}
    return {
        "instance": one,
        "train_trial_index": trial,
        "output_mapping": mapping,
        "result": {"success": True, "completions": [{"text": text, "logprob": -0.5}]},
    }


def stats(name: str, trial: int = 0, perturbation: Any = None, **means: float) -> dict[str, Any]:
    entry = {
        "instance_id": name,
        "train_trial_index": trial,
        "stats": [
            {"name": {"name": metric, "split": "test"}, "count": 1, "sum": mean, "mean": mean}
            for metric, mean in means.items()
        ],
    }
    return entry if perturbation is None else {**entry, "perturbation": perturbation}


def write(folder: Path, **files: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def state(*requests: Any, **adapter: Any) -> dict[str, Any]:
    method = {"method": "multiple_choice_joint", "model": "openai/x"}
    return {"adapter_spec": {**method, **adapter}, "request_states": list(requests)}


def lists(model: Any) -> tuple[list[str], list[int], list[int]]:
    return model.sample_ids, model.target.tolist(), model.preds.tolist()


def test_letters_of_joint_prompts_are_mapped_to_references(tmp_path: Path) -> None:
    requests = [
        joint(instance("id1", 0), " A"),
        joint(instance("id2", 2), "B\n"),
        joint(instance("id2", 2, perturbation=TYPOS), "C"),
        joint(instance("id3", 1), "The answer"),
        {**joint(instance("id4", 1), "A"), "result": None},
    ]
    run = write(
        tmp_path / "run",
        scenario_state=state(*requests),
        per_instance_stats=[
            stats("id1", exact_match=1.0),
            stats("id2", exact_match=0.0),
            stats("id2", perturbation=TYPOS, exact_match=1.0),
        ],
    )
    model = read_helm(run)
    assert lists(model) == (
        ["id1", "id2", "id2 [typos, prob=0.1]", "id3"], [0, 2, 2, 1], [0, 1, 2, -1],
    )  # fmt: skip
    assert (model.card.name, model.card.source) == ("openai/x", "helm:run")


def test_the_most_likely_completion_is_matched_by_the_runs_pattern(tmp_path: Path) -> None:
    one = joint(instance("id1", 1), "Answer: A")
    one["result"]["completions"].append({"text": "I say: B.", "logprob": -0.1})
    for pattern, want in ((r"say: ([A-Z])", 1), (r"[B-Z](?=\.)", 1), (r"never", -1)):
        run = write(tmp_path, scenario_state=state(one, output_mapping_pattern=pattern))
        assert lists(read_helm(run))[2] == [want]


def test_runs_with_what_is_displayed_alone(tmp_path: Path) -> None:
    shown = [
        {"instance_id": "id1", "train_trial_index": 0, "mapped_output": "choice 1"},
        {"instance_id": "id2", "train_trial_index": 0},
    ]
    run = write(
        tmp_path / "model=x",
        instances=[instance("id1", 1), instance("id2", 0)],
        display_predictions=shown,
    )
    model = read_helm(run)
    assert lists(model) == (["id1", "id2"], [1, 0], [1, -1])
    assert model.card.name == "model=x"
    write(run, run_spec={"adapter_spec": {"model": "meta/y"}}, instances=[instance("id1", 1)])
    with pytest.raises(ValueError, match="display_predictions.json: instance 'id2' is not in inst"):
        read_helm(run)


@pytest.mark.parametrize("displayed", [False, True])
def test_of_one_prompt_a_reference_helms_own_choice_is_taken(
    displayed: bool, tmp_path: Path
) -> None:
    one = instance("id1", 1)
    requests = [
        {"instance": one, "train_trial_index": 0, "reference_index": i, "request_mode": mode,
         "result": {"completions": [{"text": "", "logprob": -1.0}]}}
        for i in range(3)
        for mode in ("original", "calibration")
    ]  # fmt: skip
    shown = {"instance_id": "id1", "train_trial_index": 0, "reference_index": 2}
    files: dict[str, Any] = {"scenario_state": state(*requests)}
    if displayed:
        files = {"instances": [one], "display_predictions": [shown]}
    chosen = stats("id1", predicted_index=2.0, exact_match=0.0)
    run = write(tmp_path, **files, per_instance_stats=[chosen])
    assert lists(read_helm(run)) == (["id1"], [1], [2])
    write(run, per_instance_stats=[stats("id1", exact_match=0.0)])
    with pytest.raises(ValueError, match="per_instance_stats.json, 'id1': no 'predicted_index'"):
        read_helm(run)


def test_right_and_wrong_by_a_metric(tmp_path: Path) -> None:
    run = write(
        tmp_path,
        per_instance_stats=[
            stats("id1", num_tokens=7.0),
            stats("id1", quasi_exact_match=1.0),
            stats("id2", quasi_exact_match=0.0, exact_match=0.0),
            stats("id2", perturbation={"name": "typos", "seed": 3}, quasi_exact_match=1.0),
        ],
    )
    model = read_helm(run, metric="quasi_exact_match")
    assert lists(model) == (["id1", "id2", "id2 [typos, seed=3]"], [1, 1, 1], [1, 0, 1])
    assert list(model.class_names or ()) == ["wrong", "right"]
    with pytest.raises(ValueError, match="per_instance_stats.json has no metric 'f1'"):
        read_helm(run, metric="f1")
    with pytest.raises(ValueError, match="'id1': num_tokens is 7.0, expected 0 or 1"):
        read_helm(run, metric="num_tokens")


def test_one_of_several_trials_is_chosen(tmp_path: Path) -> None:
    requests = [joint(instance("id1", 1), letter, trial) for trial, letter in enumerate("AB")]
    run = write(tmp_path, scenario_state=state(*requests))
    with pytest.raises(ValueError, match="scenario_state.json has several of trial, .*: '0', '1'"):
        read_helm(run)
    assert lists(read_helm(run, trial=1))[2] == [1]
    with pytest.raises(ValueError, match="has no trial '2'; it has '0', '1'"):
        read_helm(run, trial=2)


def test_runs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    good = joint(instance("id1", 1), "B")
    free = {**good, "output_mapping": None}
    twice = instance("id1", 1)
    twice["references"][0]["tags"] = ["correct"]
    for requests, message in (
        ([good, good], "instance 'id1' is there twice"),
        ([free], "scenario_state.json, 'id1' is not multiple choice: choose a metric"),
        ([joint(instance("id1", None), "A")], "'id1': 0 of 3 references are correct, expected one"),
        ([joint(twice, "A")], "'id1': 2 of 3 references are correct, expected one: choose a metri"),
        ([{**good, "result": None}], "has no instances with a result"),
        ([], "scenario_state.json is empty"),
        ([3], "scenario_state.json: a int, expected an object with 'train_trial_index'"),
        ([{"instance": {}}], "scenario_state.json: no 'train_trial_index'"),
        ([joint(instance(None, 1), "A")], "an instance's id is None, expected text"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=message):
            read_helm(write(tmp_path, scenario_state=state(*requests)))
    contradicts = [stats("id1", exact_match=0.0)]
    run = write(tmp_path, scenario_state=state(good), per_instance_stats=contradicts)
    with pytest.raises(ValueError, match="'id1': exact_match is 0, but prediction 1 and label 1"):
        read_helm(run)
    write(run, per_instance_stats=contradicts * 2)
    with pytest.raises(ValueError, match="instance 'id1' has 'exact_match' twice"):
        read_helm(run, metric="exact_match")
    (run / "per_instance_stats.json").write_text("[{")
    with pytest.raises(ValueError, match="per_instance_stats.json is not JSON"):
        read_helm(run, metric="exact_match")
    with pytest.raises(FileNotFoundError, match=r"instances.json"):
        read_helm(tmp_path / "none")
    assert np.asarray(read_helm(write(tmp_path / "ok", scenario_state=state(good))).preds) == [1]
