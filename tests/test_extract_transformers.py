"""Small models of transformers: what is stored is what they give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from extract_models import (
    CLASS_NAMES,
    bert,
    clip,
    convnext,
    images,
    own_logits,
    save_clip,
    save_vit,
    swin,
    vit,
)
from ovcore.extract import (
    ClassMapped,
    Extraction,
    ZeroShot,
    extract_outputs,
    extract_to_store,
    fit_probe,
    load_model,
)
from ovcore.store import ModelCard, verify

pytest.importorskip("transformers")

TABLE = [0, 1, 2, 1, -1]
TEMPLATES = ["a photo of a {}.", "the {}."]


@torch.no_grad()
def text_features(model: Any, count: int = 3) -> Tensor:
    ids = torch.tensor([[0, 5 + n, 6 + n, 1] for n in range(count)])
    return model.eval().get_text_features(input_ids=ids).pooler_output


def test_four_models_in_one_pass_give_their_own_outputs(tmp_path: Path) -> None:
    both = clip()
    zero_shot = ZeroShot(text_features(both), both.logit_scale.exp(), class_names=CLASS_NAMES)
    models = [
        Extraction(ModelCard("ViT"), vit()),
        Extraction(ModelCard("ConvNeXt"), convnext()),
        Extraction(ModelCard("CLIP"), both, head=zero_shot),
        Extraction(ModelCard("Swin"), swin(), head=ClassMapped(TABLE, n_classes=3)),
    ]
    store = extract_to_store(tmp_path / "store", images(), models, class_names=CLASS_NAMES)
    assert verify(store.path) == []
    assert [card.head for card in store.models] == [
        "Trained", "Trained", "Zero-shot", "Class-mapped",
    ]  # fmt: skip
    for name, make in (("ViT", vit), ("ConvNeXt", convnext), ("Swin", swin)):
        module = make()
        inputs = [x for x, _ in images()]
        logits, features = extract_outputs(module, inputs, layer="classifier", side="input")
        np.testing.assert_array_equal(logits, own_logits(module, images()).numpy())
        np.testing.assert_array_equal(store.features(name), features)
        if name == "Swin":
            own = torch.from_numpy(logits)
            joined = own[:, [1, 3]].logsumexp(1)
            logits = torch.stack([own[:, 0], joined, own[:, 2]], 1).numpy()
        np.testing.assert_array_equal(store.logits(name), logits)


def test_zero_shot_logits_are_those_of_clip_itself(tmp_path: Path) -> None:
    both = clip().eval()
    head = ZeroShot(text_features(both), both.logit_scale.exp())
    store = extract_to_store(
        tmp_path / "store", images(), [Extraction(ModelCard("CLIP"), both, head=head)]
    )
    ids = torch.tensor([[0, 5 + n, 6 + n, 1] for n in range(3)])
    want, by_hand, features = [], [], []
    with torch.no_grad():
        for x, _ in images():
            want.append(both(input_ids=ids, pixel_values=x).logits_per_image)
            image = both.get_image_features(pixel_values=x).pooler_output
            texts = text_features(both)
            texts = texts / texts.norm(dim=-1, keepdim=True)
            product = (image / image.norm(dim=-1, keepdim=True)) @ texts.T
            by_hand.append(product * both.logit_scale.exp())
            features.append(image)
    np.testing.assert_array_equal(store.logits("CLIP"), torch.cat(by_hand).numpy())
    np.testing.assert_allclose(store.logits("CLIP"), torch.cat(want).numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(store.features("CLIP"), torch.cat(features).numpy())


def test_a_probe_on_the_image_features_of_clip(tmp_path: Path) -> None:
    both = clip()
    head = fit_probe(both, images(12), device="cpu")
    assert (head.layer, head.side, tuple(head.weight.shape)) == ("", "output", (3, 8))
    with torch.no_grad():
        image = torch.cat([both.eval().get_image_features(x).pooler_output for x, _ in images()])
    models = [Extraction(ModelCard("CLIP"), both, head=head)]
    store = extract_to_store(tmp_path / "store", images(), models, device="cpu")
    np.testing.assert_array_equal(store.features("CLIP"), image.numpy())
    want = image @ head.weight.T + head.bias
    np.testing.assert_allclose(store.logits("CLIP"), want, rtol=1e-4, atol=1e-5)
    inner = fit_probe(both, images(12), layer="visual_projection", side="input", device="cpu")
    assert inner.weight.shape == (3, 16)  # layers have the names that they have in the model


def test_texts_in_batches_that_are_mappings(tmp_path: Path) -> None:
    ids = torch.arange(10, 34).reshape(6, 4)
    mask = torch.ones_like(ids)
    mask[::2, 3] = 0
    labels = torch.arange(6) % 3
    batches = [
        {"input_ids": ids[:4], "attention_mask": mask[:4], "labels": labels[:4]},
        {"input_ids": ids[4:], "attention_mask": mask[4:], "labels": labels[4:]},
    ]
    module = bert()
    store = extract_to_store(tmp_path / "store", batches, {"BERT": module})
    module.eval()
    with torch.no_grad():
        want = [
            module(input_ids=ids[rows], attention_mask=mask[rows]).logits
            for rows in (slice(4), slice(4, 6))
        ]
    np.testing.assert_array_equal(store.logits("BERT"), torch.cat(want).numpy())
    assert store.features("BERT").shape == (6, 16)


def pictures(count: int = 3) -> list[Any]:
    from PIL import Image

    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (50, 40, 3), np.uint8)) for _ in range(count)]


def test_a_classifier_by_name_comes_with_its_processor(tmp_path: Path) -> None:
    from transformers import AutoImageProcessor

    loaded = load_model(save_vit(tmp_path / "vit"))
    card = loaded.extraction.card
    assert card.name == str(tmp_path / "vit")
    assert card.source == f"transformers:{tmp_path / 'vit'}"
    assert card.head == "Trained"
    assert card.training == {"architecture": "ViTForImageClassification"}
    assert loaded.class_names is None  # its labels are LABEL_0, ...
    prepare = loaded.extraction.prepare
    assert prepare is not None
    found = prepare(pictures())["pixel_values"]
    processor = AutoImageProcessor.from_pretrained(tmp_path / "vit")
    want = processor(images=pictures(), return_tensors="pt")["pixel_values"]
    assert torch.equal(found, want)
    assert prepare(want) is want  # what is a tensor already is taken as it is
    state = vit().state_dict()
    for name, tensor in loaded.extraction.module.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_names_of_classes_come_from_the_config(tmp_path: Path) -> None:
    module = vit()
    module.config.id2label = dict(enumerate(CLASS_NAMES))
    module.save_pretrained(tmp_path / "vit")
    loaded = load_model(f"transformers:{tmp_path / 'vit'}")
    assert loaded.class_names == CLASS_NAMES
    assert loaded.extraction.prepare is None  # no processor was saved
    with pytest.raises(ValueError, match="has no text encoder: it cannot be zero-shot"):
        loaded.zero_shot(CLASS_NAMES)


def test_clip_by_name_makes_its_own_zero_shot_head(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    loaded = load_model(save_clip(tmp_path / "clip"))
    head = loaded.zero_shot(CLASS_NAMES, TEMPLATES)
    model = clip().eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "clip")
    rows = []
    for name in CLASS_NAMES:
        each = []
        for template in TEMPLATES:
            with torch.no_grad():
                tokens = tokenizer([template.format(name)], return_tensors="pt")
                found = model.get_text_features(**tokens).pooler_output[0]
            each.append(found / found.norm())
        rows.append(torch.stack(each).mean(0))
        rows[-1] = rows[-1] / rows[-1].norm()
    np.testing.assert_allclose(head.class_features, torch.stack(rows), rtol=1e-4, atol=1e-6)
    assert head.scale == model.logit_scale.exp()
    assert head.to_json()["templates"] == TEMPLATES


def test_texts_are_tokenized_by_the_models_own_tokenizer(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path / "bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words))
    prepare = load_model(f"transformers:{tmp_path / 'bert'}").extraction.prepare
    assert prepare is not None
    found = prepare(["good bad", "bad"])
    assert found["input_ids"].tolist() == [[2, 5, 6, 3], [2, 6, 3, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert prepare(found) is found


def test_random_weights_where_they_are_asked_for(tmp_path: Path) -> None:
    spec = save_vit(tmp_path / "vit")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (load_model(spec, pretrained=False, seed=s).extraction for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.card.training == {"architecture": "ViTForImageClassification", "seed": 1}
    weights = [model.module.vit.layernorm.weight for model in (first, again)]
    assert torch.equal(*weights)
    heads = [model.module.classifier.weight for model in (first, again, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_models_that_cannot_be_taken(tmp_path: Path) -> None:
    module = vit()
    module.vit.save_pretrained(tmp_path / "body")
    spec = f"transformers:{tmp_path / 'body'}"
    with pytest.raises(ValueError, match="is ViTModel, not a classifier or a model of images and"):
        load_model(spec)
    config = tmp_path / "body" / "config.json"
    config.write_text(config.read_text().replace("ViTModel", "ViTForImageClassification"))
    with pytest.raises(ValueError, match=r"no weights for classifier\.bias, .*would be random"):
        load_model(spec)
    load_model(spec, pretrained=False)
    with pytest.raises(OSError, match="nowhere"):
        load_model(f"transformers:{tmp_path}/nowhere")
