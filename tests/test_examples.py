"""The examples, each run as its readers run it: what they print is what ovcore counts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ovcore as ov
from ovcore.store import Store

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, example: str, *arguments: object, warnings: str = "error") -> list[str]:
    """The lines that an example prints when it runs in a folder."""
    command = [sys.executable, "-W", warnings, str(EXAMPLES / example), *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.splitlines()


def test_pairs_of_sklearn_models_add_up(tmp_path: Path) -> None:
    lines = run(tmp_path, "sklearn_models.py")
    names = ["logistic regression", "nearest neighbours", "random forest", "naive Bayes"]
    n_samples, accuracy, against_first, together = 450, {}, {}, {}
    for name, row in zip(names, lines[2:6], strict=True):
        assert row.startswith(f"{name} ")
        _, share, apart, _, of_both, *_ = map(float, row.removeprefix(name).split())
        accuracy[name], against_first[name], together[name] = share, apart, of_both
    assert min(accuracy.values()) > 0.75
    pairs = {}
    for row in lines[7:]:
        *words, apart, gain = row.split()
        a, b = (name for name in names if name in " ".join(words))
        pairs[a, b] = float(apart), float(gain)
    assert len(pairs) == 6
    assert [apart for apart, _ in pairs.values()] == sorted(
        (apart for apart, _ in pairs.values()), reverse=True
    )
    for (a, b), (apart, gain) in pairs.items():
        assert abs(apart * n_samples - round(apart * n_samples)) < 1e-3
        # As far apart as their accuracies at least, and at most as if no error were shared.
        assert (
            abs(accuracy[a] - accuracy[b]) - 1e-4 <= apart <= 2 - accuracy[a] - accuracy[b] + 1e-4
        )
        if a == names[0]:
            assert against_first[b] == pytest.approx(apart, abs=1e-4)
            assert together[b] == pytest.approx((accuracy[a] + accuracy[b]) / 2 + gain, abs=2e-4)


def test_the_ensemble_leads_the_leaderboard(tmp_path: Path) -> None:
    *rows, last = run(tmp_path, "automl_leaderboard.py")
    assert len(rows) == 27
    accuracy = [float(row[:6]) for row in rows]
    weight = [int(row[7:10].strip() or 0) for row in rows]
    assert accuracy == sorted(accuracy, reverse=True)
    assert sum(weight) == 20
    *_, best, _, ensemble = last.replace(",", "").split()
    assert float(best) in [a for a, w in zip(accuracy, weight, strict=True) if w]
    assert float(ensemble) > float(best)


def test_samples_of_lm_eval_are_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = ["org/first", "org/second", "org/third"]
    target = rng.integers(0, 3, 40)
    scores = (rng.normal(size=(3, 40, 3)) + np.eye(3)[target] - 4).round(3)
    for name, rows in zip(names, scores.tolist(), strict=True):
        folder = tmp_path / "out" / name.replace("/", "__")
        folder.mkdir(parents=True)
        (folder / "results_2025.json").write_text(json.dumps({"model_name": name}))
        lines = [
            {
                "doc_id": n,
                "target": "abc"[label],
                "arguments": {
                    f"gen_args_{k}": {"arg_0": f"question {n}", "arg_1": f" {choice}"}
                    for k, choice in enumerate("abc")
                },
                "filtered_resps": [[str(score), "False"] for score in row],
                "filter": "none",
                "doc_hash": f"hash of {n}",
                "acc": float(np.argmax(row) == label),
            }
            for n, (row, label) in enumerate(zip(rows, target, strict=True))
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "samples_tiny_2025.jsonl").write_text(text)
    files = sorted((tmp_path / "out").glob("*/samples_tiny_*.jsonl"))
    lines_ = run(tmp_path, "lm_eval_results.py", "store", *files)

    errors = ov.pack_errors(scores.argmax(-1), target)
    assert Store(tmp_path / "store").names == tuple(names)
    np.testing.assert_array_equal(Store(tmp_path / "store").logits(names[1]), scores[1])
    for line, name, share in zip(lines_, names, errors.accuracy(), strict=False):
        assert line.startswith(f"{name}: 40 matched")
        assert line.endswith(f"accuracy {share:.4f}")
    assert lines_[5].split()[0] == names[int(errors.accuracy().argmax())]
    kappa, p = ov.pairwise.error_consistency(errors), ov.pairwise.mcnemar(errors, adjust="holm")
    low, high = ov.intervals.error_consistency(errors)
    assert lines_[8:] == [
        f"{names[a]} and {names[b]}: error consistency {kappa[a, b]:.2f} "
        f"[{low[a, b]:.2f}, {high[a, b]:.2f}], McNemar's p {p[a, b]:.2g}"
        for a, b in [(0, 1), (0, 2), (1, 2)]
    ]


LOGS = """
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice

def answer(letter):
    output = ModelOutput.from_content("mockllm/model", f"ANSWER: {letter}")
    output.usage = ModelUsage()  # else tokens are counted, with a tokenizer from the network
    return output

questions = [Sample(id=f"q{i}", input=f"question {i}", choices=["one", "two", "three"], target=t)
             for i, t in enumerate("ABCA")]
for name, letters in {"first": "ABAA", "second": "BBAA"}.items():
    task = Task(dataset=MemoryDataset(questions), solver=multiple_choice(), scorer=choice())
    model = get_model(f"mockllm/{name}", custom_outputs=map(answer, letters))
    (log,) = eval(task, model=model, log_dir="logs", log_format="eval", display="none",
                  max_samples=1)
    assert log.status == "success", log.error
"""


def test_logs_of_inspect_are_compared(tmp_path: Path) -> None:
    if importlib.util.find_spec("inspect_ai") is None:
        pytest.skip("inspect_ai is not installed")
    command = [sys.executable, "-W", "ignore", "-c", LOGS]
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    lines = run(tmp_path, "inspect_logs.py", "logs", "store", warnings="ignore")
    rows = {row.split()[0]: row.split()[1:3] for row in lines[4:6]}  # in the order of files
    accuracy = {name: share for name, (share, _) in rows.items()}
    assert accuracy == {"mockllm/first": "0.7500", "mockllm/second": "0.5000"}
    assert [apart for _, apart in rows.values()] == ["0.0000", "0.2500"]
    assert set(Store(tmp_path / "store").names) == set(accuracy)
    assert lines[6:] == [
        "0 of 2 models: 1 questions q2",
        "1 of 2 models: 1 questions q0",
        "2 of 2 models: 2 questions q1 q3",
    ]


@pytest.mark.parametrize("example", ["lm_eval_results.py", "inspect_logs.py"])
def test_examples_say_how_they_are_called(example: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / example)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert outcome.returncode == 1
    assert f"python {example} " in outcome.stderr


def test_examples_are_short_listed_and_public() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert f"({path.name})" in listed
        assert "ovcore._" not in text
        assert "ov._" not in text
