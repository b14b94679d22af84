"""Models over one pass of a loader give a store of their own outputs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler

from extract_models import CLASS_NAMES, Numbered, loader, mlp, own_logits
from ovcore.extract import Extraction, extract_to_store
from ovcore.store import ModelCard, Store, verify


def one(module: nn.Module | None = None, name: str = "a", **options: Any) -> list[Extraction]:
    return [Extraction(ModelCard(name), module or mlp(), **options)]


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "store")


def test_plain_modules_by_name(tmp_path: Path) -> None:
    models = {"a": mlp(0), "b": mlp(1)}
    store = extract_to_store(tmp_path / "store", loader(), models, class_names=CLASS_NAMES)
    assert store.names == ("a", "b")
    assert store.class_names == CLASS_NAMES
    assert store.sample_ids == [f"s{n}" for n in range(11)]
    assert store.target.tolist() == [n % 3 for n in range(11)]
    assert verify(tmp_path / "store") == []
    assert left_behind(tmp_path) == []
    for name, module in models.items():
        logits = store.logits(name)
        assert logits is not None
        assert logits.dtype == np.float32
        np.testing.assert_array_equal(logits, own_logits(module, loader()).numpy())
        with torch.no_grad():
            want = torch.cat([module[:3](x) for x, _, _ in loader()])
        np.testing.assert_array_equal(store.features(name), want.numpy())
        assert {card.name: card.head for card in store.models}[name] == "Trained"


def test_the_data_are_read_once_for_all_models(tmp_path: Path) -> None:
    data = Numbered()
    extract_to_store(tmp_path / "store", DataLoader(data, 4), {"a": mlp(0), "b": mlp(1)})
    assert data.loaded == list(range(11))


def test_cards_are_stored_as_given(tmp_path: Path) -> None:
    card = ModelCard("a", "Sup.", "Distilled", "BASE", {"seed": 3}, "here", 1.5)
    store = extract_to_store(tmp_path / "store", loader(), [Extraction(card, mlp())])
    assert store.models == (card,)


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param(lambda x, y, _: [(x[:3], y[:3]), (x[3:], y[3:])], id="pairs"),
        pytest.param(lambda x, y, _: [[x[:3], y[:3].tolist()], [x[3:], y[3:].numpy()]], id="lists"),
        pytest.param(lambda x, y, i: [(x[:3], y[:3], i[:3]), (x[3:], y[3:], i[3:])], id="ids"),
        pytest.param(
            lambda x, y, _: [((x[:3],), y[:3]), ((x[3:],), y[3:])], id="positional arguments"
        ),
        pytest.param(
            lambda x, y, _: [{"input": x, "labels": y, "ids": torch.arange(5)}], id="mapping"
        ),
        pytest.param(
            lambda x, y, _: [({"input": x[:3]}, y[:3]), ({"input": x[3:]}, y[3:])], id="keywords"
        ),
        pytest.param(lambda x, y, _: iter([(x[:3], y[:3]), (x[3:], y[3:])]), id="an iterator"),
    ],
)
def test_forms_of_batches(batches: Callable[..., Any], tmp_path: Path) -> None:
    x, y, ids = torch.randn(5, 5), torch.tensor([0, 1, 2, 0, 1]), list("vwxyz")
    given = batches(x, y, ids)
    store = extract_to_store(tmp_path / "store", given, one())
    np.testing.assert_allclose(store.logits("a"), own_logits(mlp(), [(x, y)]).numpy(), rtol=1e-5)
    np.testing.assert_array_equal(store.target, y)
    assert store.sample_ids in (None, ids, ["0", "1", "2", "3", "4"])


def test_text_and_numbers_go_to_a_module_that_takes_both(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, words: list[str], scale: float) -> Tensor:
            assert len(words) == len(x)
            return x[:, :3] * scale + len(words[0])

    x = torch.zeros(3, 5)
    batch = {"x": x, "words": ["one", "two", "six"], "scale": 2.0, "labels": [0, 1, 2]}
    store = extract_to_store(tmp_path / "store", [batch], one(Sum(), layer=None))
    np.testing.assert_array_equal(store.logits("a"), np.full((3, 3), 3.0, np.float32))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_outputs_may_be_stored_in_fewer_bits(dtype: str, tmp_path: Path) -> None:
    store = extract_to_store(tmp_path / "store", loader(), one(), dtype=dtype)
    want = own_logits(mlp(), loader()).to(getattr(torch, dtype)).float()
    logits, features = store.logits("a"), store.features("a")
    assert logits is not None
    assert features is not None
    assert str(logits.dtype) == str(features.dtype) == dtype
    np.testing.assert_array_equal(logits.astype(np.float32), want.numpy())


def test_float16_that_overflows_is_refused(tmp_path: Path) -> None:
    class Large(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :3] + 1e6

    with pytest.raises(ValueError, match=r"logits of 'a' exceed the range of float16: store bflo"):
        extract_to_store(tmp_path / "store", loader(), one(Large(), layer=None), dtype="float16")
    store = extract_to_store(tmp_path / "store", loader(), one(Large(), layer=None))
    assert store.features("a") is None


def test_autocast_runs_the_module_in_the_lower_precision(tmp_path: Path) -> None:
    store = extract_to_store(tmp_path / "store", loader(), one(), autocast="bfloat16")
    module = mlp().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        want = torch.cat([module(x) for x, _, _ in loader()])
    assert want.dtype == torch.bfloat16
    np.testing.assert_array_equal(store.logits("a"), want.float().numpy())


def test_features_may_be_left_out_and_named(tmp_path: Path) -> None:
    without = extract_to_store(tmp_path / "a", loader(), one(), features=False)
    assert without.kinds("a") == ("logits", "preds")
    none = extract_to_store(tmp_path / "b", loader(), one(layer=None))
    assert none.features("a") is None
    named = extract_to_store(tmp_path / "c", loader(), one(layer="0"))
    taken = extract_to_store(tmp_path / "d", loader(), one(layer="1", side="input"))
    np.testing.assert_array_equal(named.features("a"), taken.features("a"))
    assert named.features("a").min() < 0
    whole = extract_to_store(tmp_path / "e", loader(), one(layer=""))
    np.testing.assert_array_equal(whole.features("a"), whole.logits("a"))


def test_prepare_makes_the_inputs_of_each_model(tmp_path: Path) -> None:
    words = [["a", "bb"], ["ccc"]]
    batches = [(words[0], [0, 1]), (words[1], [2])]

    def lengths(texts: list[str]) -> Tensor:
        return torch.tensor([[float(len(text))] * 5 for text in texts])

    models = one(prepare=lengths) + one(name="b", prepare=lambda t: 2 * lengths(t))
    store = extract_to_store(tmp_path / "store", batches, models)
    for name, factor in (("a", 1), ("b", 2)):
        inputs = factor * torch.tensor([[1.0] * 5, [2.0] * 5, [3.0] * 5])
        want = own_logits(mlp(), [(inputs[:2],), (inputs[2:],)])
        np.testing.assert_array_equal(store.logits(name), want.numpy())


def test_modules_are_left_as_found(tmp_path: Path) -> None:
    module = mlp().train()
    module[2].eval()
    modes = [part.training for part in module.modules()]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    extract_to_store(tmp_path / "store", loader(), one(module) + one(module, "b"))
    assert [part.training for part in module.modules()] == modes
    assert not any(part._forward_hooks for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_more_models_are_added_to_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "store"
    extract_to_store(path, loader(), one(), class_names=CLASS_NAMES)
    store = extract_to_store(path, loader(batch_size=3), one(mlp(1), "b"), append=True)
    assert store.names == ("a", "b")
    assert left_behind(tmp_path) == []
    np.testing.assert_array_equal(store.logits("b"), own_logits(mlp(1), loader(batch_size=3)))
    with pytest.raises(FileExistsError, match="append=True adds models"):
        extract_to_store(path, loader(), one(name="c"))
    with pytest.raises(ValueError, match="has a model named 'b' already"):
        extract_to_store(path, loader(), one(name="b"), append=True)
    with pytest.raises(ValueError, match="loader has 10 samples but .* has 11"):
        extract_to_store(path, loader(10), one(name="c"), append=True)
    with pytest.raises(ValueError, match="loader has more samples than .*: 11"):
        extract_to_store(path, loader(12), one(name="c"), append=True, resume=False)
    others = [(torch.zeros(11, 5), torch.zeros(11, dtype=torch.int64))]
    with pytest.raises(ValueError, match="the label of sample 1 is 0, but 1 in"):
        extract_to_store(path, others, one(name="c"), append=True, resume=False)
    ids = [(torch.zeros(11, 5), torch.arange(11) % 3, [f"t{n}" for n in range(11)])]
    with pytest.raises(ValueError, match="sample 0 is 't0', but 's0' in"):
        extract_to_store(path, ids, one(name="c"), append=True)
    with pytest.raises(ValueError, match="gives logits of 4 classes, but the store at .* has 3"):
        extract_to_store(path, loader(), one(mlp(classes=4), "c"), append=True)
    with pytest.raises(ValueError, match="class_names differ"):
        extract_to_store(path, loader(), one(name="c"), append=True, class_names=list("xyz"))
    with pytest.raises(FileNotFoundError, match="no store at"):
        extract_to_store(tmp_path / "none", loader(), one(), append=True)
    assert Store(path).names == ("a", "b")
    assert verify(path) == []


X, Y = torch.zeros(4, 5), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], ValueError, "loader is empty"),
        ([X], TypeError, r"\(inputs, labels\).*got Tensor"),
        ([{"x": X}], TypeError, "a mapping needs 'labels', got x"),
        ([(X, Y.float())], TypeError, r"labels must be \(n,\) integers, got float32 \(4,\)"),
        ([(X, Y[:, None])], TypeError, r"got int64 \(4, 1\)"),
        ([(X, Y[:3])], ValueError, "4 inputs but 3 labels"),
        ([({"input": X}, Y[:3])], ValueError, "4 inputs but 3 labels"),
        ([(X, Y, ["a"])], ValueError, "1 ids but 4 labels"),
        ([(X[:0], Y[:0])], ValueError, "a batch has no sample"),
        ([(X, Y, list("abca"))], ValueError, "sample id 'a' repeats"),
        ([(X, Y - 1)], ValueError, "label of sample 0 is -1"),
        ([(["word"] * 4, Y)], TypeError, "inputs of 'a' are no tensors but a list of str: .*prep"),
        ([(X[:, :2], Y)], RuntimeError, "shapes cannot be multiplied"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_batches_that_do_not_fit(
    batches: list[Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        extract_to_store(tmp_path / "store", batches, one())
    assert not (tmp_path / "store").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ((X, Y), "some batches have ids, others do not"),
        ((X, Y + 1, list("efgh")), r"label of sample 6 is 3, expected a class in 0\.\.2"),
        ((X, Y, list("efga")), "sample id 'a' repeats"),
    ],
    ids=["ids", "label", "repeated"],
)
def test_what_was_done_before_a_bad_batch_is_kept(
    second: Any, message: str, tmp_path: Path
) -> None:
    first = (X, Y, list("abcd"))
    with pytest.raises(ValueError, match=message):
        extract_to_store(tmp_path / "store", [first, second], one())
    assert left_behind(tmp_path) == [".store.extracting"]
    runs: list[int] = []
    module = mlp()
    module.register_forward_hook(lambda _, args, __: runs.append(len(args[0])))
    store = extract_to_store(tmp_path / "store", [first, (X, Y, list("efgh"))], one(module))
    assert runs == [2, 2, 4]  # twice to find the layer, then the batch that was corrected
    assert store.n_samples == 8
    assert left_behind(tmp_path) == []


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:1, :3]


def test_models_that_do_not_fit(tmp_path: Path) -> None:
    def refused(models: Any, error: type[Exception], message: str, **options: Any) -> None:
        with pytest.raises(error, match=message):
            extract_to_store(tmp_path / "store", loader(), models, **options)
        assert list(tmp_path.iterdir()) == []

    refused([], ValueError, "models is empty")
    refused([mlp()], TypeError, "models must be Extractions, got Sequential")
    refused(one() + one(), ValueError, "2 models are named 'a'")
    refused(
        one() + one(mlp(classes=4), "b"), ValueError,
        "'b' gives logits of 4 classes, but 'a' has 3",
    )  # fmt: skip
    refused(one(), ValueError, "3 classes, but class_names has 2", class_names=["x", "y"])
    refused(one(Rows(), layer=None), ValueError, "logits of 'a' are 1 rows of 2 samples")
    refused(one(layer="neck"), ValueError, "'a': layer 'neck' is not in the module")
    refused(
        one(nn.Flatten(0), layer=None), TypeError, r"'a': .* logits of shape \(N, K\), not \(10,\)"
    )
    refused(one(), ValueError, "dtype must be one of float32, .*'int8'", dtype="int8")
    refused(one(), ValueError, "autocast must be", autocast="float32")
    refused(one(), ValueError, "device 'abacus' is unknown", device="abacus")
    if not torch.cuda.is_available():
        refused(one(), ValueError, "device is 'cuda', but torch finds no GPU", device="cuda")
    shared = nn.Linear(5, 5)
    twice = nn.Sequential(shared, shared, mlp())
    refused(one(twice, layer="0"), ValueError, "'a': layer '0' ran 2 times in one batch, not 1")
    with pytest.raises(TypeError, match="the module of 'a' must be a torch module"):
        Extraction(ModelCard("a"), len)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the head of 'a' must be a head"):
        Extraction(ModelCard("a"), mlp(), head=nn.Linear(3, 3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="side must be"):
        one(side="both")


class Twice:
    """A sampler in another order each time, of which nothing says so."""

    def __init__(self) -> None:
        self.turns = 0

    def __iter__(self) -> Any:
        self.turns += 1
        return iter([[0, 1], [2, 3]] if self.turns % 2 else [[2, 3], [0, 1]])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(zip(Numbered().inputs, [n % 3 for n in range(11)], strict=True))


def test_loaders_that_shuffle_are_refused(tmp_path: Path) -> None:
    data = Numbered()
    for shuffled, name in (
        (DataLoader(data, 4, shuffle=True), "RandomSampler"),
        (DataLoader(data, 4, sampler=SubsetRandomSampler(range(11))), "SubsetRandomSampler"),
        (DataLoader(data, batch_sampler=Twice()), "Twice"),  # type: ignore[arg-type]
        (
            DataLoader(data, 4, sampler=torch.utils.data.DistributedSampler(data, 2, 0)),
            "DistributedSampler",
        ),
    ):
        with pytest.raises(ValueError, match=rf"shuffles its samples \({name}\).*shuffle=False"):
            extract_to_store(tmp_path / "store", shuffled, one())
    assert list(tmp_path.iterdir()) == []
    assert data.loaded == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: DataLoader(Stream(), 4), id="stream"),
        pytest.param(lambda: DataLoader(Numbered(), 4, sampler=range(11)), id="own sampler"),
        pytest.param(
            lambda: DataLoader(Numbered(), batch_sampler=[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]),
            id="own batches",
        ),
        pytest.param(lambda: loader(num_workers=1), id="worker"),
    ],
)
def test_other_loaders_in_order(data: Callable[[], DataLoader[Any]], tmp_path: Path) -> None:
    store = extract_to_store(tmp_path / "store", data(), one())
    np.testing.assert_array_equal(store.logits("a"), own_logits(mlp(), loader()).numpy())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)],
    ids=["terminal", "declined", "file"],
)
def test_a_bar_is_shown_on_a_terminal(
    stream: io.StringIO, progress: bool, shown: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    extract_to_store(tmp_path / "store", loader(), one(), progress=progress)
    assert ("11/11" in stream.getvalue() and " samples/s" in stream.getvalue()) == shown
    assert bool(stream.getvalue()) == shown


@pytest.mark.gpu
def test_a_gpu_gives_the_modules_own_outputs_and_the_module_back(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        if os.environ.get("OVCORE_REQUIRE_GPU"):
            pytest.fail("torch finds no GPU")
        pytest.skip("torch finds no GPU")
    module = mlp()
    store = extract_to_store(tmp_path / "store", loader(), one(module), device="cuda")
    assert {parameter.device.type for parameter in module.parameters()} == {"cpu"}
    module = mlp().cuda()
    want = own_logits(module, [(x.cuda(),) for x, _, _ in loader()]).cpu()
    np.testing.assert_array_equal(store.logits("a"), want.numpy())
