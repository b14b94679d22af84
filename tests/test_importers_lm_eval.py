"""Samples of lm-evaluation-harness: by its documented schema, and as the library writes them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovcore.importers import import_outputs, read_lm_eval
from ovcore.store import Store

# Three documents; the choices' lengths make acc, acc_norm and acc_bytes differ.
DOCS = [
    {"question": "q0", "choices": ["ab", "c"], "answer": 0},
    {"question": "q1", "choices": ["éé", "long one", "x"], "answer": 0},
    {"question": "q2", "choices": ["yes", "no"], "answer": 1},
]
SCORES = {
    "first": [[-1.0, -0.75], [-1.5, -8.0, -1.0], [-1.0, -0.1]],
    "second": [[-1.0, -1.5], [-1.0, -4.0, -2.5], [-0.1, -0.2]],
}


def line(doc_id: int, scores: list[float], target: object = 0, **more: Any) -> dict[str, Any]:
    """One sample of a multiple-choice task, as EvaluationTracker writes it."""
    choices = more.pop("choices", "abcdefg"[: len(scores)])
    pairs = [[str(score), "False"] for score in scores]
    return {
        "doc_id": doc_id,
        "doc": {},
        "target": str(target),
        "arguments": {
            f"gen_args_{i}": {"arg_0": "question", "arg_1": f" {choice}"}
            for i, choice in enumerate(choices)
        },
        "resps": [[pair] for pair in pairs],
        "filtered_resps": pairs,
        "filter": "none",
        "doc_hash": f"hash{doc_id}",
        **more,
    }


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return path


def test_log_likelihoods_of_choices_are_logits(tmp_path: Path) -> None:
    lines = [
        line(0, [-1.0, -2.0], 0, acc=1.0),
        line(1, [-3.0, -2.0, -float("inf")], 2, acc=0.0),
        line(2, [-0.1, -0.2], "b", acc=0.0),
    ]
    for one in lines:
        one["target"] = {"0": "a", "2": "c"}.get(one["target"], one["target"])
    model = read_lm_eval(write(tmp_path / "samples_t_1.jsonl", lines))
    inf = np.inf
    np.testing.assert_array_equal(
        model.logits, [[-1.0, -2.0, -inf], [-3.0, -2.0, -inf], [-0.1, -0.2, -inf]]
    )
    assert np.asarray(model.target).tolist() == [0, 2, 1]
    assert model.sample_ids == ["hash0", "hash1", "hash2"]
    assert model.card.name == tmp_path.name
    assert model.card.source == "lm-eval:samples_t_1.jsonl"


def test_the_model_is_named_as_the_results_beside_say(tmp_path: Path) -> None:
    (tmp_path / "results_2025.json").write_text('{"model_name": "org/model"}')
    path = write(tmp_path / "samples_task_of_2025.jsonl", [line(0, [-1.0, -2.0])])
    assert read_lm_eval(path).card.name == "org/model"


def test_logs_of_older_versions_have_numbers_and_no_hash(tmp_path: Path) -> None:
    old = {
        "doc_id": 7,
        "target": "1",
        "arguments": [["q", " a"], ["q", " b"]],
        "resps": [[[-1.0, False]], [[-2.0, True]]],
        "filtered_resps": [[-1.0, False], [-2.0, True]],
    }
    model = read_lm_eval(write(tmp_path / "old.jsonl", [old]))
    np.testing.assert_array_equal(model.logits, [[-1.0, -2.0]])
    assert (model.sample_ids, np.asarray(model.target).tolist()) == (["7"], [1])
    del old["filtered_resps"]
    np.testing.assert_array_equal(
        read_lm_eval(write(tmp_path / "o.jsonl", [old])).logits, [[-1, -2]]
    )


@pytest.mark.parametrize(
    ("normalize", "lengths", "metric"),
    [("chars", [2, 8, 1], "acc_norm"), ("bytes", [4, 8, 1], "acc_bytes")],
)
def test_log_likelihoods_are_divided_by_the_length_of_the_choice(
    normalize: Any, lengths: list[int], metric: str, tmp_path: Path
) -> None:
    lls = np.array([-3.0, -7.0, -1.0])
    right = float(np.argmax(lls / lengths) == 0)
    one = line(0, lls.tolist(), 0, choices=["éé", "long one", "x"], acc=0.0, **{metric: right})
    path = write(tmp_path / "s.jsonl", [one])
    model = read_lm_eval(path, normalize=normalize)
    np.testing.assert_array_equal(model.logits, [lls / lengths])
    one[metric] = 1 - right
    with pytest.raises(ValueError, match=f"s.jsonl:1: {metric} is .*, but log-likelihoods and tar"):
        read_lm_eval(write(path, [one]), normalize=normalize)


def test_among_numbers_the_logged_accuracy_tells_whether_a_target_is_a_position(
    tmp_path: Path,
) -> None:
    position = line(0, [-3.0, -2.0, -1.0], 2, choices="123", acc=1.0)
    text = line(0, [-3.0, -2.0, -1.0], 2, choices="123", acc=0.0)
    assert np.asarray(read_lm_eval(write(tmp_path / "a", [position])).target).tolist() == [2]
    second = line(1, [-3.0, -1.0, -2.0], 2, choices="123", acc=1.0)
    model = read_lm_eval(write(tmp_path / "b", [text, second]))
    assert np.asarray(model.target).tolist() == [1, 1]


def test_documents_that_repeat_are_told_apart_by_their_number(tmp_path: Path) -> None:
    lines = [line(i, [-1.0, -2.0], doc_hash=h) for i, h in enumerate(["u", "v", "u"])]
    assert read_lm_eval(write(tmp_path / "s", lines)).sample_ids == ["u#0", "v", "u#2"]


def test_unconditional_log_likelihoods_are_left_out(tmp_path: Path) -> None:
    one = line(0, [-1.0, -2.0, -5.0, -6.0], 1, choices="abab")
    for i in (2, 3):
        one["arguments"][f"gen_args_{i}"]["arg_0"] = ""
    np.testing.assert_array_equal(read_lm_eval(write(tmp_path / "s", [one])).logits, [[-1, -2]])


def test_one_of_several_repeats_is_chosen(tmp_path: Path) -> None:
    one = line(0, [-1.0, -2.0])
    one["filtered_resps"] = one["resps"] = [
        [["-1.0", "False"], ["-4.0", "False"]],
        [["-2.0", "False"], ["-3.0", "False"]],
    ]
    path = write(tmp_path / "s", [one])
    with pytest.raises(ValueError, match=r"s:1: each choice has 2 responses: choose repeat 0..1"):
        read_lm_eval(path)
    np.testing.assert_array_equal(read_lm_eval(path, repeat=1).logits, [[-4.0, -3.0]])
    with pytest.raises(ValueError, match="s:1: no repeat 2 of 2"):
        read_lm_eval(path, repeat=2)


def test_right_and_wrong_by_a_metric_of_one_of_several_filters(tmp_path: Path) -> None:
    lines = [
        {"doc_id": i, "doc_hash": str(i), "target": "t", "filtered_resps": ["text"], "filter": f,
         "exact_match": float(i == 1 or f == "loose")}
        for f in ("strict", "loose")
        for i in range(3)
    ]  # fmt: skip
    path = write(tmp_path / "s", lines)
    with pytest.raises(ValueError, match="s has several of filter, choose one: 'strict', 'loose'"):
        read_lm_eval(path, metric="exact_match")
    with pytest.raises(ValueError, match="s has no filter 'none'; it has 'strict', 'loose'"):
        read_lm_eval(path, metric="exact_match", filter="none")
    model = read_lm_eval(path, metric="exact_match", filter="strict")
    assert np.asarray(model.preds).tolist() == [0, 1, 0]
    assert np.asarray(model.target).tolist() == [1, 1, 1]
    assert list(model.class_names or ()) == ["wrong", "right"]
    with pytest.raises(ValueError, match="s:1 is not of a multiple-choice task: choose a metric"):
        read_lm_eval(path, filter="strict")


def test_a_folder_is_one_model_of_several_tasks(tmp_path: Path) -> None:
    write(tmp_path / "samples_two_2025-01.jsonl", [line(0, [-1.0, -2.0, -3.0])])
    write(tmp_path / "samples_one_2025-01.jsonl", [line(0, [-1.0, -2.0])])
    model = read_lm_eval(tmp_path)
    assert model.sample_ids == ["one/hash0", "two/hash0"]
    np.testing.assert_array_equal(model.logits, [[-1, -2, -np.inf], [-1, -2, -3]])
    write(tmp_path / "samples_one_2025-02.jsonl", [line(0, [-1.0, -2.0])])
    with pytest.raises(
        ValueError, match="has two runs of one: samples_one_2025-01.jsonl, samples_"
    ):
        read_lm_eval(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="run lm_eval with --log_samples"):
        read_lm_eval(tmp_path / "empty")


def without(one: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != key}


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        (line(0, [-1.0, -2.0]), {}, "s:2: document 'hash0#0' is there twice, first in .*s:1"),
        (line(1, [-1.0, -2.0], 2), {}, "s:2: target '2' is none of the 2 choices, or several: ch"),
        (line(1, [-1.0, -2.0], [0, 1]), {}, r"s:2: target '\[0, 1\]' is none of the 2 choices"),
        (line(1, [-1.0, -2.0], acc=0.0), {}, "s:2: acc is 0.0, but log-likelihoods and target 0"),
        (line(1, [-1.0, -2.0], acc=0.4), {}, "s:2: acc is 0.4, expected 0 or 1"),
        (line(1, [-1.0, float("nan")]), {}, "s:2: a log-likelihood is NaN"),
        (line(1, [-1.0, -2.0], arguments={}), {}, "s:2: 'arguments' must be as many as the 2 resp"),
        (line(1, [-1.0, -2.0], arguments=[["q"], ["q"]]), {}, "s:2: 'arguments' must be pairs of"),
        (line(1, [-1.0, -2.0], doc_hash=5), {}, "s:2: 'doc_hash' is a int, expected str"),
        (without(line(1, [-1.0, -2.0]), "target"), {}, "s:2: no 'target'"),
        (line(1, [-1.0, -2.0]), {"metric": "f1"}, "s:1: no 'f1'"),
        (line(1, [-1.0, -2.0]), {"normalize": "words"}, "normalize must be 'chars' or 'bytes'"),
        (
            line(1, [-1.0, -2.0], choices=["a", ""]), {"normalize": "chars"},
            "s:2: choice 1 is empty and has no length",
        ),
    ],
)  # fmt: skip
def test_samples_that_do_not_fit_are_refused_by_line(
    second: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "s", [line(0, [-1.0, -2.0]), second])
    with pytest.raises(ValueError, match=message):
        read_lm_eval(path, **options)


def test_a_truncated_line_is_said_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", [line(0, [-1.0, -2.0]), line(1, [-1.0, -2.0])])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="s.jsonl:2: not JSON"):
        read_lm_eval(path)
    path.write_text("[1]\n")
    with pytest.raises(ValueError, match="s.jsonl:1: a list, expected an object"):
        read_lm_eval(path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="s.jsonl has no samples"):
        read_lm_eval(path)


REAL = """
import json, sys
from pathlib import Path
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker

folder, docs, scores = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
(folder / "docs.jsonl").write_text("".join(json.dumps(doc) + "\\n" for doc in docs))
by_choice = {d["question"]: d["choices"] for d in docs}
number = {d["question"]: i for i, d in enumerate(docs)}

class Fixed(LM):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def loglikelihood(self, requests):
        found = []
        for request in requests:
            question, choice = request.args[0], request.args[1].removeprefix(" ")
            row = scores[self.name][number[question]]
            found.append((row[by_choice[question].index(choice)], False))
        return found

    def generate_until(self, requests):
        return [{"first": "ab", "second": "no"}[self.name] for _ in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

def metrics(*names):
    return [{"metric": n, "aggregation": "mean", "higher_is_better": True} for n in names]

files = {"data_files": {"test": str(folder / "docs.jsonl")}, "cache_dir": str(folder / "cache")}
task = {"dataset_path": "json", "dataset_kwargs": files, "test_split": "test",
        "doc_to_text": "{{question}}"}
choices = {**task, "task": "tiny", "output_type": "multiple_choice",
           "doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}",
           "metric_list": metrics("acc", "acc_norm", "acc_bytes")}
text = {**task, "task": "generated", "output_type": "generate_until",
        "doc_to_target": "{{choices[answer]}}", "generation_kwargs": {"until": ["."]},
        "filter_list": [{"name": name, "filter": [{"function": "take_first"}]}
                        for name in ("one", "two")],
        "metric_list": metrics("exact_match")}
for name in scores:
    results = simple_evaluate(Fixed(name), tasks=[choices, text], log_samples=True,
                              bootstrap_iters=0)
    tracker = EvaluationTracker(str(folder / "out"))
    tracker.general_config_tracker.model_name = f"org/{name}"
    tracker.general_config_tracker.model_name_sanitized = f"org__{name}"
    samples = results.pop("samples")
    tracker.save_results_aggregated(results, samples)
    for task_name, some in samples.items():
        tracker.save_results_samples(task_name, some)
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the library wrote of two models on two tasks."""
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip("lm_eval is not installed")
    folder = tmp_path_factory.mktemp("lm_eval")
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    command = [sys.executable, "-W", "ignore", "-c", REAL, str(folder)]
    done = subprocess.run(
        [*command, json.dumps(DOCS), json.dumps(SCORES)],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.mark.parametrize("normalize", [None, "chars", "bytes"])
def test_multiple_choice_that_the_library_logged(
    normalize: Any, logged: Path, tmp_path: Path
) -> None:
    files = [next(logged.glob(f"org__{name}/samples_tiny_*.jsonl")) for name in SCORES]
    models = [read_lm_eval(file, normalize=normalize) for file in files]
    import_outputs(models, tmp_path / "s")
    store = Store(tmp_path / "s")
    assert list(store.names) == ["org/first", "org/second"]
    assert store.target.tolist() == [doc["answer"] for doc in DOCS]
    assert store.n_classes == 3
    for name, rows in SCORES.items():
        want = np.full((3, 3), -np.inf)
        for i, (row, doc) in enumerate(zip(rows, DOCS, strict=True)):
            texts: Any = doc["choices"]
            length = {None: lambda _: 1, "chars": len, "bytes": lambda t: len(t.encode())}[
                normalize
            ]
            want[i, : len(row)] = [s / length(t) for s, t in zip(row, texts, strict=True)]
        np.testing.assert_array_equal(store.logits(f"org/{name}"), want)
        preds = store.preds(f"org/{name}")
        np.testing.assert_array_equal(preds, want.argmax(1))
    # Worked out by hand from SCORES, DOCS and the lengths of the choices.
    right = {None: [1 / 3, 2 / 3], "chars": [1.0, 2 / 3], "bytes": [1.0, 2 / 3]}
    assert store.accuracy.tolist() == pytest.approx(right[normalize])


def test_generated_text_that_the_library_scored(logged: Path, tmp_path: Path) -> None:
    files = [next(logged.glob(f"org__{name}/samples_generated_*.jsonl")) for name in SCORES]
    models = [read_lm_eval(file, metric="exact_match", filter="two") for file in files]
    import_outputs(models, tmp_path / "s")
    store = Store(tmp_path / "s")
    # The answers are "ab", "éé" and "no"; one model always says "ab", the other "no".
    assert [np.asarray(store.preds(name)).tolist() for name in store.names] == [
        [1, 0, 0],
        [0, 0, 1],
    ]


def test_a_folder_that_the_library_made_has_two_kinds_of_tasks(logged: Path) -> None:
    with pytest.raises(ValueError, match="choose one: 'one', 'two'"):
        read_lm_eval(logged / "org__first")
