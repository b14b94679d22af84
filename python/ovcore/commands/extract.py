"""``ovcore extract``: models over one pass of the data, into a store."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovcore.extract.assembly import Request
    from ovcore.store import Store

_EPILOG = """\
models:
  torch:FILE.py:FACTORY, torch:MODULE:FACTORY   a function that returns a torch module, or an
                                                ovcore.extract.Extraction
  timm:NAME   torchvision:NAME[/WEIGHTS]   open_clip:ARCH/PRETRAINED
  transformers:NAME_OR_FOLDER
data:
  torch:FILE.py:FACTORY                         a function that returns a Dataset or a DataLoader
  folder:DIR                                    images, one sub-folder a class

Options on heads and layers hold for all models of the command line. Where models differ, --models
takes a TOML file with a table each, whose keys are the options with underscores, and besides
method, category and training of the model's card:

  [[model]]
  model = "timm:resnet50.a1_in1k"
  layer = "fc"
  side = "input"
  training = {seed = 1, objective = "Sup.", data = "IN"}
  [[model]]
  model = "open_clip:ViT-B-32/openai"
  templates = "prompts.txt"

After an interruption the same command goes on where it was.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Adds ``ovcore extract``."""
    parser = commands.add_parser(
        "extract",
        help="run torch models over data and store their logits and features",
        description="Run models over one pass of the data and store their logits and features.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("store", metavar="STORE", help="the folder to make, or to add to with --append")
    add("--data", required=True, metavar="DATA", help="what the models run on")
    add("--model", action="append", default=[], metavar="MODEL", help="a model; may be repeated")
    add("--models", metavar="FILE", help="TOML file of more models")
    add("--name", action="append", default=[], metavar="TEXT",
        help="name of a --model, in their order")  # fmt: skip

    heads = parser.add_argument_group("prediction heads")
    add = heads.add_argument
    add("--head", choices=("trained", "fine-tuned", "distilled", "zero-shot"),
        help="its own under one of three words, or texts (default: what it has)")  # fmt: skip
    add("--class-names", metavar="FILE", help="the data's classes, one a line")
    add("--templates", metavar="FILE",
        help='prompts of a zero-shot head, one a line (default: "a photo of a {}.")')  # fmt: skip
    add("--class-map", metavar="FILE",
        help="CSV of source,target or JSON: the data's class of each of the model's")  # fmt: skip
    add("--class-map-how", choices=("logsumexp", "max"), default="logsumexp",
        help="how logits of one class are joined (default: %(default)s)")  # fmt: skip
    add("--missing-classes", choices=("refuse", "never"), default="refuse",
        help="classes that the map does not reach are refused or never predicted")  # fmt: skip
    add("--probe-train", metavar="DATA", help="data to fit a linear probe on, by L-BFGS")

    running = parser.add_argument_group("running")
    add = running.add_argument
    add("--layer", default="auto", metavar="NAME",
        help="of the features, or none (default: the classifier's input)")  # fmt: skip
    add("--side", choices=("output", "input"), default="output", help="of that layer")
    add("--batch-size", type=_positive, metavar="N", help="samples at a time (default: 64)")
    add("--workers", type=_count, default=0, metavar="N", help="processes that load data")
    add("--dtype", choices=("float32", "float16", "bfloat16"), default="float32",
        help="that outputs are stored in (default: %(default)s)")  # fmt: skip
    add("--autocast", choices=("bfloat16", "float16"), help="lower precision that models run in")
    add("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    add("--no-pretrained", action="store_true", help="random weights")
    add("--seed", type=_count, default=0, metavar="N", help="of random weights")
    add("--append", action="store_true", help="add models to the store")
    add("--no-resume", action="store_true", help="begin anew after an interruption")
    add("--quiet", action="store_true", help="no progress bar and no summary")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Extracts; 0 when it is done, 1 with a message for what could not be done."""
    try:
        store, seconds = _extract(options)
    except ImportError as error:
        needed = error.name or ""
        own = needed in ("torch", "safetensors", "filelock")
        advice = ": pip install 'ovcore[extract]'" if own else ""
        print(f"ovcore extract: {error}{advice}", file=sys.stderr)
        return 1
    except (ValueError, TypeError, OSError, MemoryError) as error:
        print(f"ovcore extract: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ovcore extract: interrupted; the same command goes on from here", file=sys.stderr)
        return 1
    if not options.quiet:
        accuracy = dict(zip(store.names, store.accuracy, strict=True))
        width = max(map(len, seconds))
        for name, spent in seconds.items():
            print(
                f"{name:<{width}}  accuracy {accuracy[name]:.4f}  {store.n_samples:,} samples  "
                f"{spent:.1f} s"
            )
    return 0


def _extract(options: argparse.Namespace) -> tuple[Store, dict[str, float]]:
    from ovcore.extract.assembly import assemble, lines_of
    from ovcore.extract.data import load_data
    from ovcore.extract.extraction import extract_and_time

    requests = _requests(options)
    data = load_data(options.data, batch_size=options.batch_size, workers=options.workers)
    names = data.class_names
    if options.class_names is not None:
        names = lines_of(options.class_names)
    common = {
        "autocast": options.autocast, "device": options.device, "progress": not options.quiet,
    }  # fmt: skip
    models = [
        assemble(
            request, names, batch_size=options.batch_size, workers=options.workers, **common
        )
        for request in requests
    ]  # fmt: skip
    return extract_and_time(
        options.store, data.loader, models, features=True, dtype=options.dtype, class_names=names,
        resume=not options.no_resume, append=options.append, **common,
    )  # fmt: skip


def _requests(options: argparse.Namespace) -> list[Request]:
    from ovcore.extract.assembly import Request, read_requests

    if options.name and len(options.name) != len(options.model):
        raise ValueError(f"{len(options.name)} --name for {len(options.model)} --model")
    if not options.model and options.models is None:
        raise ValueError("there is no model: give --model or --models")
    defaults = {
        key: getattr(options, key)
        for key in (
            "head", "class_names", "templates", "class_map", "class_map_how", "missing_classes",
            "probe_train", "layer", "side", "seed",
        )
    }  # fmt: skip
    defaults["pretrained"] = not options.no_pretrained
    names = options.name or [None] * len(options.model)
    requests = [
        Request(model, name, **defaults) for model, name in zip(options.model, names, strict=True)
    ]
    if options.models is not None:
        requests += read_requests(options.models, defaults)
    return requests


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {value}")
    return value
