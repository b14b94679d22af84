"""The whole study: experiments on a subject, and the files that tell of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import ovcore as ov
from ovcore.study import folder as folders
from ovcore.study import resuming
from ovcore.study.experiments import EXPERIMENTS
from ovcore.study.experiments.tables import model_table
from ovcore.study.of_zoo import from_zoo
from ovcore.study.page import render
from ovcore.study.page.report import Report, Section
from ovcore.study.paint import on_paper
from ovcore.study.results import Experiment, Result
from ovcore.study.subject import Subject
from ovcore.study.summary import summary, title
from ovcore.study.writing import write
from ovcore.study.zoo import Recipe, build


def run(
    out: str | os.PathLike[str],
    *,
    subject: Subject | None = None,
    recipe: Recipe | None = None,
    splits: int = 1,
    cache: str | os.PathLike[str] | None = None,
    only: Sequence[str] | None = None,
    quiet: bool = False,
) -> Path:
    """Makes every experiment and writes the page.

    Writes into ``out``: ``index.html``, one page that opens offline; ``figures/``, each figure as
    SVG and PDF; ``tables/``, what they are drawn from; ``pairs.csv``, every base and partner;
    ``study.json``, findings, choices, seeds and hashes; and ``experiments/``, each experiment's
    whole result. One that is there already, made of the same outputs with the same settings, is
    taken as it is: a study that was interrupted goes on.

    Args:
        out: folder for the files; made where it is missing, its files of those names replaced.
        subject: the models, see :func:`ovcore.study.from_store`; default: the built-in zoo.
        recipe: the zoo to train; default: the built-in one. Without a subject only, as the next
            two.
        splits: repetitions of the zoo with other seeds, for standard errors over them.
        cache: folder that keeps trained zoos; default: the user's cache.
        only: names of the experiments to make; default: all.
        quiet: no progress bar.

    Returns:
        The path of the page.

    Raises:
        ValueError: no experiment has such a name, or another study is writing to ``out``.
        NotADirectoryError: ``out`` is a file.
    """
    chosen = choose(only)
    folder, date = Path(out), folders.today()
    folders.check(folder)
    if subject is None:
        recipe = recipe if recipe is not None else Recipe()
        zoo = build(recipe, splits=splits, cache=cache, progress=not quiet)
        subject = from_zoo(recipe, zoo, progress=not quiet)
    key = resuming.key_of(subject)
    with folders.taken(folder):
        with tqdm(chosen, disable=quiet, unit="experiment") as bar:
            sections = []
            for experiment in bar:
                bar.set_description(experiment.name)
                sections.append(_section(folder, experiment, subject, key))
        return _write(folder, subject, sections, key, date)


def _section(folder: Path, experiment: Experiment, subject: Subject, key: str) -> Section:
    """Of what is finished on disk, made first where it is not: a page is made of files alone."""
    result = resuming.load(folder, experiment, key)
    if result is None:
        resuming.save(folder, experiment, key, experiment.conduct(subject))
        result = resuming.load(folder, experiment, key)
    assert result is not None
    return Section(experiment, result, () if result.lacking else tuple(experiment.draw(result)))


def choose(names: Sequence[str] | None) -> list[Experiment]:
    """The experiments of these names, in the order of the page.

    Raises:
        ValueError: none, or one that there is not.
    """
    if names is not None and not names:
        raise ValueError(f"expected names of experiments, got none; there are "
                         f"{', '.join(EXPERIMENTS)}")  # fmt: skip
    unknown = [name for name in names or () if name not in EXPERIMENTS]
    if unknown:
        raise ValueError(f"no experiment is called {unknown[0]!r}; there are "
                         f"{', '.join(EXPERIMENTS)}")  # fmt: skip
    return [e for name, e in EXPERIMENTS.items() if names is None or name in names]


def _write(folder: Path, subject: Subject, sections: list[Section], key: str, date: str) -> Path:
    results = {section.experiment.name: section.result for section in sections}
    files = _figures_and_tables(folder, sections)
    files["pairs.csv"] = "every base and partner"
    write(folder / "pairs.csv", subject.pairs.to_csv(index=False))
    about = {
        "ovcore": ov.__version__,
        "date": date,
        "subject": subject.name,
        "models": len(subject.first.names),
        "samples": subject.first.comparison.n_samples,
        "seed": subject.seed,
        "splits": len(subject.splits),
        **subject.about,
    }
    files[folders.ABOUT] = "findings, choices, seeds and hashes"
    files = folders.with_earlier(folder, key, files)
    study = about | {
        "key": key,
        "base": subject.base,
        "bases": list(subject.bases),
        "accuracy_range": list(subject.range_of(subject.first)),
        "choices": subject.choices,
        "experiments": {name: _in_short(results[name]) for name in results},
        "files": files,
    }
    write(folder / folders.ABOUT, resuming.as_text(study))
    report = Report(
        title=title(subject),
        summary=summary(subject, results),
        sections=tuple(sections),
        models=model_table(subject),
        subject=subject,
        about=about,
        files=files,
    )
    write(folder / "index.html", render(report))
    return folder / "index.html"


def _figures_and_tables(folder: Path, sections: list[Section]) -> dict[str, str]:
    """Writes them and says what each file holds."""
    files: dict[str, str] = {}
    for section in sections:
        name = section.experiment.name
        files[f"{resuming.FOLDER}/{name}.json"] = f"{section.experiment.title}: the whole result"
        for table, rows in section.result.tables.items():
            file = f"tables/{name}-{table.replace(' ', '-').replace('’', '')}.csv"
            write(folder / file, rows.to_csv(index=False))
            files[file] = f"{section.experiment.title}: {table}"
        for chart in section.charts:
            for path in on_paper.save(chart, folder / "figures"):
                files[f"figures/{path.name}"] = chart.title
    return files


def _in_short(result: Result) -> dict[str, Any]:
    """All but the tables, which have files of their own."""
    return {key: value for key, value in result.to_json().items() if key != "tables"}
