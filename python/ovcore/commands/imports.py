"""``ovcore import``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ovcore.store import Store

if TYPE_CHECKING:
    from ovcore.importers import Outputs


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command and its formats."""
    formats = commands.add_parser(
        "import",
        help="bring outputs that other tools wrote to a store",
        description="Brings outputs that other tools wrote to a store. Samples are matched by id, "
        "or by position where there are no ids. Either all files fit and are written, or nothing "
        "is.",
        epilog="ovcore import FORMAT --help tells a format's options. Exit status: 0 done, 1 not "
        "(the reason is on stderr), 2 wrong usage.",
    ).add_subparsers(dest="format", required=True, metavar="FORMAT")
    common = _common()
    for name, text, add_options, read in (
        ("arrays", "npz, npy, safetensors, CSV or parquet", _arrays, _read_arrays),
        ("sklearn", "predict_proba of scikit-learn, in npz, npy or CSV", _sklearn, _read_sklearn),
        ("lm-eval", "samples_*.jsonl of lm-evaluation-harness", _lm_eval, _read_lm_eval),
        ("inspect", "logs of Inspect, .eval or .json", _inspect, _read_inspect),
        ("helm", "folders of HELM runs", _helm, _read_helm),
        ("model-vs-human", "CSV files of trials, one model a subject", _trials, _read_trials),
    ):
        parser = formats.add_parser(
            name, help=text, description=f"Brings to a store: {text}.", parents=[common]
        )
        add_options(parser.add_argument_group(f"options of {name}"))
        parser.set_defaults(run=run, read=read, extra="import")


def run(options: argparse.Namespace) -> int:
    """Imports, and prints a line a model."""
    from ovcore.importers import import_outputs, read_labels

    class_names = _class_names(options)
    models: list[Outputs] = options.read(options, class_names)
    if options.name is not None:
        if len(options.name) != len(models):
            raise ValueError(f"--name is given {len(options.name)} times for {len(models)} models")
        models = [m.named(name) for m, name in zip(models, options.name, strict=True)]
    labels = None
    if options.labels is not None:
        labels = read_labels(options.labels, target=options.labels_key, class_names=class_names)
    for report in import_outputs(
        models,
        options.store,
        append=options.append,
        labels=labels,
        class_names=None if options.class_names is None else class_names,
        n_classes=options.classes,
        disagreeing=options.disagreeing,
    ):
        print(report)
    store = Store(options.store)
    print(f"{store.path} has {len(store):,} models on {store.n_samples:,} samples")
    return 0


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("files", type=Path, nargs="+", metavar="FILE")
    common.add_argument("--store", type=Path, required=True, metavar="DIR", help="the store")
    common.add_argument(
        "--append", action="store_true",
        help="add to the store that is there; the files must have all of its samples",
    )  # fmt: skip
    common.add_argument(
        "--name", action="append", metavar="NAME",
        help="a model's name, once for each in their order (default: what the files say)",
    )  # fmt: skip
    common.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="labels in a file of their own: npz, npy, safetensors, CSV or parquet",
    )  # fmt: skip
    common.add_argument(
        "--labels-key", metavar="KEY", help="its member or column of labels, where none is usual"
    )
    common.add_argument(
        "--disagreeing", choices=("drop", "refuse"), default="drop",
        help="samples that two files label differently: drop them for all models, or write "
        "nothing (default: %(default)s)",
    )  # fmt: skip
    common.add_argument(
        "--class-names", type=Path, metavar="FILE", help="names of the classes in order, one a line"
    )
    common.add_argument(
        "--classes", type=int, metavar="K",
        help="number of classes, where the files do not tell (default of top-k outputs: the "
        "largest class seen, and one)",
    )  # fmt: skip
    return common


def _class_names(options: argparse.Namespace) -> list[str] | None:
    if options.class_names is not None:
        text: str = options.class_names.read_text(encoding="utf-8")
        return [line.strip() for line in text.splitlines() if line.strip()]
    return Store(options.store).class_names if options.append else None


def _arrays(group: argparse._ArgumentGroup) -> None:
    for name, what in (
        ("preds", "predicted classes (N,), or with --probs the k best (N, k)"),
        ("logits", "logits (N, K)"),
        ("probs", "probabilities (N, K), or with --preds those of the k best"),
    ):
        group.add_argument(
            f"--{name}", action="append", metavar="KEY",
            help=f"member or column of {what}; several are one model each",
        )  # fmt: skip
    group.add_argument(
        "--names", metavar="KEY",
        help="that of models' names, where arrays have an axis of models or rows are of several",
    )  # fmt: skip
    _target_and_ids(group)
    group.add_argument(
        "--kind", choices=("preds", "logits", "probs"),
        help="what an npy file or the columns of a table hold",
    )  # fmt: skip


def _sklearn(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--proba", metavar="KEY", help="member of probabilities (N, K)")
    group.add_argument("--class-key", metavar="KEY", help="member of class names, as classes_")
    _target_and_ids(group)


def _target_and_ids(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--target", metavar="KEY", help="member or column of labels (default: labels, target, y)"
    )
    group.add_argument(
        "--ids", metavar="KEY", help="member or column of sample ids (default: id, sample_id)"
    )


def _lm_eval(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--metric", metavar="NAME", help="take right and wrong by this one, such as exact_match"
    )
    group.add_argument(
        "--normalize", choices=("chars", "bytes"),
        help="divide log-likelihoods by the choice's length, as for acc_norm or acc_bytes",
    )  # fmt: skip
    group.add_argument("--filter", metavar="NAME", help="of several, the harness's filter")
    group.add_argument("--repeat", type=int, metavar="R", help="of several, the response, from 0")


def _inspect(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--scorer", metavar="NAME", help="of several")
    group.add_argument(
        "--kind", choices=("choice", "right"),
        help="letters of choices, or right and wrong (default: letters where all have choices)",
    )  # fmt: skip
    group.add_argument("--partial", choices=("right", "wrong"), help="what P counts as")
    group.add_argument("--epoch", type=int, metavar="E", help="this one alone (default: all)")
    group.add_argument(
        "--unfinished", action="store_true", help="also read logs that did not end with success"
    )


def _helm(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--metric", metavar="NAME", help="take right and wrong by this one, such as exact_match"
    )
    group.add_argument("--trial", type=int, metavar="T", help="of several, the train trial")


def _trials(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--condition", metavar="NAME", help="this one alone (default: all)")


def _read_arrays(options: argparse.Namespace, names: Sequence[str] | None) -> list[Outputs]:
    from ovcore.importers import read_arrays

    return [
        model
        for file in options.files
        for model in read_arrays(
            file, preds=options.preds, logits=options.logits, probs=options.probs,
            target=options.target, ids=options.ids, names=options.names, kind=options.kind,
            class_names=names,
        )
    ]  # fmt: skip


def _read_sklearn(options: argparse.Namespace, _: Sequence[str] | None) -> list[Outputs]:
    from ovcore.importers import read_sklearn

    keys = {"proba": options.proba, "classes": options.class_key, "target": options.target}
    return [read_sklearn(file, **keys, ids=options.ids) for file in options.files]


def _read_lm_eval(options: argparse.Namespace, _: Sequence[str] | None) -> list[Outputs]:
    from ovcore.importers import read_lm_eval

    return [
        read_lm_eval(
            file, metric=options.metric, normalize=options.normalize, filter=options.filter,
            repeat=options.repeat,
        )
        for file in options.files
    ]  # fmt: skip


def _read_inspect(options: argparse.Namespace, _: Sequence[str] | None) -> list[Outputs]:
    from ovcore.importers import read_inspect

    return [
        read_inspect(
            file, scorer=options.scorer, kind=options.kind, partial=options.partial,
            epoch=options.epoch, unfinished=options.unfinished,
        )
        for file in options.files
    ]  # fmt: skip


def _read_helm(options: argparse.Namespace, _: Sequence[str] | None) -> list[Outputs]:
    from ovcore.importers import read_helm

    return [read_helm(f, metric=options.metric, trial=options.trial) for f in options.files]


def _read_trials(options: argparse.Namespace, names: Sequence[str] | None) -> list[Outputs]:
    from ovcore.importers import read_model_vs_human

    return read_model_vs_human(options.files, condition=options.condition, class_names=names)
