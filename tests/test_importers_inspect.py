"""Logs of Inspect: by their documented schema, and as the library writes them."""

from __future__ import annotations

import builtins
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovcore.importers import import_outputs, read_inspect
from ovcore.store import Store


def sample(
    name: str | int, target: object, value: object, answer: object = None, **more: Any
) -> dict[str, Any]:
    """One sample of an EvalLog with choices."""
    return {
        "id": name,
        "epoch": 1,
        "choices": ["one", "two", "three"],
        "target": target,
        "scores": {"choice": {"value": value, "answer": answer}},
        **more,
    }


def write(folder: Path, samples: list[Any] | None, **more: Any) -> Path:
    path = folder / "log.json"
    log = {"version": 2, "status": "success", "eval": {"model": "openai/x"}, "samples": samples}
    path.write_text(json.dumps({**log, **more}), encoding="utf-8")
    return path


def lists(model: Any) -> tuple[list[str], list[int], list[int]]:
    return model.sample_ids, model.target.tolist(), model.preds.tolist()


def test_letters_of_choices_are_classes(tmp_path: Path) -> None:
    samples = [
        sample("q0", "A", "C", "A"),
        sample(1, ["C"], "I", "b"),
        sample("q2", "B", "I", ""),
        sample("q3", "B", "N", None),
        sample("q4", "B", "I", "A, C"),
    ]
    model = read_inspect(write(tmp_path, samples))
    assert lists(model) == (
        ["q0", "1", "q2", "q3", "q4"], [0, 2, 1, 1, 1], [0, 1, -1, -1, -1],
    )  # fmt: skip
    assert (model.card.name, model.card.source) == ("openai/x", "inspect:log.json")
    beyond = sample("q", "2", "C", "2", choices=["c"] * 28)
    assert lists(read_inspect(write(tmp_path, [beyond])))[1:] == ([27], [27])


def test_right_and_wrong_by_the_scores_value(tmp_path: Path) -> None:
    values = ["C", "I", "N", 1, 0.0, True, "yes", "No", "1.0"]
    samples = [sample(i, "text", value, choices=None) for i, value in enumerate(values)]
    model = read_inspect(write(tmp_path, samples))
    assert np.asarray(model.preds).tolist() == [1, 0, 0, 1, 0, 1, 1, 0, 1]
    assert np.asarray(model.target).tolist() == [1] * 9
    assert list(model.class_names or ()) == ["wrong", "right"]
    as_right = read_inspect(write(tmp_path, [sample("q0", "A", "C", "A")]), kind="right")
    assert lists(as_right) == (["q0"], [1], [1])


def test_partial_credit_counts_as_it_is_said_to(tmp_path: Path) -> None:
    path = write(tmp_path, [sample(0, "t", "P", choices=[]), sample(1, "t", 0.5, choices=[])])
    with pytest.raises(
        ValueError,
        match=r"log.json, scorer 'choice', sample '0': value 0.5 is neither right \(C, 1\) nor "
        r"wrong \(I, N, 0\): say what partial counts as",
    ):
        read_inspect(path)
    assert np.asarray(read_inspect(path, partial="right").preds).tolist() == [1, 1]
    assert np.asarray(read_inspect(path, partial="wrong").preds).tolist() == [0, 0]


def test_samples_of_later_epochs_have_names_of_their_own(tmp_path: Path) -> None:
    samples = [sample("q", "A", "C", "A"), sample("q", "A", "I", "B", epoch=2)]
    path = write(tmp_path, samples)
    assert lists(read_inspect(path)) == (["q", "q (epoch 2)"], [0, 0], [0, 1])
    assert lists(read_inspect(path, epoch=2)) == (["q (epoch 2)"], [0], [1])
    with pytest.raises(ValueError, match=r"log.json has no samples of epoch 3"):
        read_inspect(path, epoch=3)


def test_samples_without_a_score_are_left_out(tmp_path: Path) -> None:
    samples = [
        sample("q0", "A", "C", "A"),
        sample("q1", "A", "C", "A", scores=None),
        sample("q2", "A", float("nan"), "A"),
        sample("q3", "A", None, "A"),
        sample("q4", "B", "C", "B"),
    ]
    assert lists(read_inspect(write(tmp_path, samples)))[0] == ["q0", "q4"]


def test_one_of_several_scorers_is_chosen(tmp_path: Path) -> None:
    scores = {"match": {"value": "C"}, "includes": {"value": "I"}}
    path = write(tmp_path, [sample(0, "t", "C", choices=None, scores=scores)])
    with pytest.raises(ValueError, match="several of scorer, choose one: 'match', 'includes'"):
        read_inspect(path)
    assert np.asarray(read_inspect(path, scorer="includes").preds).tolist() == [0]
    with pytest.raises(ValueError, match="has no scorer 'f1'; it has 'match', 'includes'"):
        read_inspect(path, scorer="f1")


@pytest.mark.parametrize(
    ("samples", "more", "options", "message"),
    [
        ([sample(0, "A", "C", "B")], {}, {}, "sample '0': answer 'B' to target 'A' has value 1: r"),
        ([sample(0, "A", "I", "A")], {}, {}, "sample '0': answer 'A' to target 'A' has value 0"),
        ([sample(0, "AB", "C", "A")], {}, {"kind": "choice"}, "'0': the target is not one letter"),
        ([sample(0, "t", 0.3, choices=None)], {}, {}, "sample '0': value 0.3 is neither right"),
        ([sample(0, "t", "maybe", choices=None)], {}, {}, "'0': value 'maybe' is neither right"),
        ([sample(0, "t", {"a": 1}, choices=None)], {}, {}, "'0': value {'a': 1} is neither right"),
        ([sample("a", "A", "C", "A")] * 2, {}, {}, "log.json: sample id 'a' is there twice"),
        ([sample(None, "A", "C", "A")], {}, {}, "log.json: 'id' is a NoneType, expected str or i"),  # type: ignore[arg-type]
        ([], {}, {}, "log.json has no samples"),
        ([sample(0, "A", "C", "A", scores={})], {}, {}, "has several of scorer, choose one: none"),
        ([5], {}, {}, "log.json: 'samples' must be objects"),
        (None, {}, {}, "log.json: 'samples' is a NoneType, expected list"),
        ([], {"eval": {}}, {}, "log.json, 'eval': no 'model'"),
        ([], {"status": "error"}, {}, "log.json ended with status 'error': read it as unfinished"),
        ([], {}, {"kind": "letter"}, "kind must be 'choice' or 'right', got 'letter'"),
        ([], {}, {"partial": "half"}, "partial must be 'right' or 'wrong', got 'half'"),
    ],
)
def test_logs_that_do_not_fit_are_refused(
    samples: list[Any] | None,
    more: dict[str, Any],
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=message):
        read_inspect(write(tmp_path, samples, **more), **options)


def test_an_unfinished_log_can_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, [sample("q0", "A", "C", "A")], status="cancelled")
    assert lists(read_inspect(path, unfinished=True)) == (["q0"], [0], [0])


def test_damaged_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, [sample("q0", "A", "C", "A")])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="log.json is not JSON"):
        read_inspect(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="log.json holds a list, expected a dict"):
        read_inspect(path)
    with pytest.raises(FileNotFoundError, match=r"none.eval does not exist"):
        read_inspect(tmp_path / "none.eval")
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("inspect_ai"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **more)

    (tmp_path / "log.eval").write_bytes(b"PK")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ImportError, match=r"log.eval is read with inspect_ai: pip install inspect_"
    ):
        read_inspect(tmp_path / "log.eval")


REAL = """
import sys
from pathlib import Path
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import choice, includes, match
from inspect_ai.solver import generate, multiple_choice

folder = Path(sys.argv[1])

def answer(text):
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage()  # else tokens are counted, with a tokenizer from the network
    return output

def run(name, task, answers):
    for format in ("eval", "json"):
        model = get_model("mockllm/model", custom_outputs=map(answer, answers))
        (log,) = eval(task, model=model, log_dir=str(folder / name), log_format=format,
                      display="none", max_samples=1)
        assert log.status == "success", log.error

choices = [Sample(id=f"q{i}", input=f"question {i}", choices=["one", "two", "three"], target=t)
           for i, t in enumerate("ABC")]
run("choices", Task(dataset=MemoryDataset(choices), solver=multiple_choice(), scorer=choice()),
    ["ANSWER: A", "ANSWER: C", "I do not know"])
texts = [Sample(id=i, input=f"question {i}", target=t) for i, t in enumerate(["red", "blue"])]
run("texts", Task(dataset=MemoryDataset(texts), solver=generate(), epochs=2,
                  scorer=[match(), includes()]),
    ["red", "a red ruby", "it is blue now", "blue"])
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of a multiple-choice task and of one of free text, in both formats."""
    if importlib.util.find_spec("inspect_ai") is None:
        pytest.skip("inspect_ai is not installed")
    folder = tmp_path_factory.mktemp("inspect")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REAL, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.filterwarnings("ignore")  # of the library, when it is imported
@pytest.mark.parametrize("ending", ["eval", "json"])
def test_logs_that_the_library_wrote(ending: str, logged: Path, tmp_path: Path) -> None:
    (choices,) = (logged / "choices").glob(f"*.{ending}")
    model = read_inspect(choices)
    assert lists(model) == (["q0", "q1", "q2"], [0, 1, 2], [0, 2, -1])
    assert model.card.name == "mockllm/model"
    import_outputs([model], tmp_path / "s")
    assert Store(tmp_path / "s").accuracy.tolist() == pytest.approx([1 / 3])
    (texts,) = (logged / "texts").glob(f"*.{ending}")
    ids = ["0", "1", "0 (epoch 2)", "1 (epoch 2)"]
    assert lists(read_inspect(texts, scorer="match"))[0] == ids
    # In the order of ids: "red" and "it is blue now", say, must begin or end with the target.
    values = {}
    log = json.loads(next((logged / "texts").glob("*.json")).read_text())
    for one in log["samples"]:
        values[one["id"], one["epoch"]] = one["output"]["choices"][0]["message"]["content"]
    for scorer, rule in (("match", str.endswith), ("includes", str.__contains__)):
        want = [int(rule(values[i, epoch], ["red", "blue"][i])) for epoch in (1, 2) for i in (0, 1)]
        assert lists(read_inspect(texts, scorer=scorer)) == (ids, [1] * 4, want)


@pytest.mark.filterwarnings("ignore")
def test_a_truncated_log_of_the_library_is_named(logged: Path, tmp_path: Path) -> None:
    (whole,) = (logged / "choices").glob("*.eval")
    path = tmp_path / "cut.eval"
    path.write_bytes(whole.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"cut.eval is not a log of Inspect"):
        read_inspect(path)
