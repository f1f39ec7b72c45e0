"""The pictures of what a network looks at, each with the numbers in it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepcnn.data.dataset import ImageDataset
from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.explain_plots import plot_depths, plot_feature_maps, plot_kernels, plot_maps
from hepcnn.evaluation.image_plots import choose_axes, make_average_images, plot_average_images
from hepcnn.evaluation.metrics import auc
from hepcnn.explain.correlation import correlate_pixels
from hepcnn.explain.gradients import make_grad_cam, make_saliency
from hepcnn.explain.layers import collect_maps, find_first_kernels, probe_depths
from hepcnn.explain.occlusion import make_occlusion
from hepcnn.explain.scoring import LogOdds, batches, cut
from hepcnn.images.grids import grid_from_record

Drawn = tuple[str, Any, dict[str, Any]]
"""Name, figure, and numbers."""

MAX_OCCLUDED, N_PT_BINS = 100, 3
TITLES: Mapping[str, str] = {"grad_cam": "Grad-CAM", "depths": "Linear probes by depth"}
CAPTIONS: Mapping[str, str] = {
    "average": "What the network is shown: the average image of each class, and their difference.",
    "correlation": "Pearson's correlation of each pixel with the network's score over all jets; grey where a pixel is "
    "the same in every jet.",
    "saliency": "Gradient times input, summed over channels and averaged: to first order, what each pixel adds to the "
    "logarithm of p(signal) / p(background).",
    "grad_cam": "Grad-CAM (arXiv:1610.02391) at the last feature maps, averaged: where they raise the score.",
    "occlusion": "Drop of the score when a patch of the image is emptied, averaged.",
    "kernels": "First-layer kernels with the largest norm: a row per channel of the image.",
    "feature_maps": "What each stage makes of the jet with the highest score; each map has its own colour scale.",
    "depths": "A logistic regression on the pooled maps of each stage, fitted on half of the jets and measured on the "
    "other half: how far the classes have come apart at that depth. Jet-level inputs join in the head only.",
}


@dataclass(frozen=True)
class Subject:
    """What is explained: the model, and jets as it gets them."""

    score: LogOdds
    images: torch.Tensor
    features: torch.Tensor | None
    dataset: ImageDataset
    signal: str
    background: str

    @property
    def axes(self) -> Any:
        """The two axes that are drawn: those of the grid, or of three the two with the most pixels."""
        axes = grid_from_record(self.dataset.attributes["grid"]).axes
        first, second = choose_axes(self.dataset.shape)
        return axes[first], axes[second]

    def project(self, images: NDArray[Any]) -> NDArray[Any]:
        """Add images (..., and the axes of the grid) up over the axis that is not drawn, if there is one."""
        n_axes, kept = len(self.dataset.shape), choose_axes(self.dataset.shape)
        gone = tuple(axis - n_axes for axis in range(n_axes) if axis not in kept)
        found: NDArray[Any] = images.sum(axis=gone) if gone else images
        return found

    def select(self, jets: NDArray[np.int64]) -> "Subject":
        """Some of the jets."""
        some = torch.from_numpy(jets)
        features = None if self.features is None else self.features[some]
        return replace(self, images=self.images[some], features=features, dataset=self.dataset.select(jets))

    def average(self, maps: NDArray[Any], bins: Mapping[str, NDArray[np.bool_]]) -> dict[str, dict[str, Any]]:
        """Average (N, and the axes of the grid) over the jets of each class and bin, as they are drawn.

        Those without jets are left out.
        """
        maps = self.project(maps)
        names, label, weight = self.dataset.class_names, self.dataset.label, self.dataset.weight
        found: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(names):
            for title, inside in bins.items():
                mine = (label == number) & inside[: len(label)]
                if weight[mine].sum() > 0:
                    found.setdefault(name, {})[title] = np.average(maps[mine], axis=0, weights=weight[mine])
        return found


def choose_jets(label: NDArray[np.int64], n_classes: int, max_jets: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Numbers, rising, of at most ``max_jets`` jets, drawn evenly from the classes.

    Raises
    ------
    InputError
        For fewer jets than classes.
    """
    if max_jets < n_classes:
        raise InputError(f"max_jets = {max_jets}, expected at least one for each of {n_classes} classes")
    random = np.random.default_rng(seed)
    drawn = []
    for number in range(n_classes):
        mine = np.flatnonzero(label == number)
        drawn.append(random.permutation(mine)[: max_jets // n_classes])
    return np.sort(np.concatenate(drawn))


def draw_subject(subject: Subject, n_smooth: int) -> Iterator[Drawn]:
    """Pictures with their names and the numbers in them."""
    with torch.no_grad():
        parts = [subject.score(subject.images[p], cut(subject.features, p)) for p in batches(len(subject.images))]
    score = torch.cat(parts).numpy()
    yield _draw_average(subject)
    yield _draw_correlation(subject, score)
    yield from _draw_attributions(subject, n_smooth)
    yield _draw_occlusion(subject)
    yield _draw_kernels(subject)
    yield _draw_feature_maps(subject, score)
    yield _draw_depths(subject, score)


def _draw_average(subject: Subject) -> Drawn:
    data = subject.dataset
    averages = make_average_images(
        data.indptr,
        data.index,
        data.value[:, 0],
        data.label,
        data.weight,
        class_names=data.class_names,
        grid=data.shape,
    )
    averages = {name: subject.project(average) for name, average in averages.items()}
    figure = plot_average_images(
        averages,
        axes=subject.axes,
        colour_label=f"mean {data.channels[0]} per pixel",
        difference=(subject.signal, subject.background),
    )
    return "average", figure, {"average": averages}


def _draw_correlation(subject: Subject, score: NDArray[Any]) -> Drawn:
    found = correlate_pixels(subject.project(subject.images.numpy()), score, subject.dataset.weight)
    by_channel = dict(zip(subject.dataset.channels, found, strict=True))
    figure = plot_maps({"": by_channel}, axes=subject.axes, colour_label="correlation with the score")
    return "correlation", figure, {"correlation": by_channel}


def _draw_attributions(subject: Subject, n_smooth: int) -> Iterator[Drawn]:
    bins = _bin_pt(subject.dataset)
    saliency = make_saliency(subject.score, subject.images, subject.features, n_smooth=n_smooth).numpy()
    maps = subject.average(saliency.sum(axis=1), bins)
    share = np.abs(saliency).sum(axis=tuple(range(2, saliency.ndim))).mean(axis=0)
    share = share / share.sum() if share.sum() > 0 else share
    told = {"saliency": maps, "saliency_share_of_channels": dict(zip(subject.dataset.channels, share, strict=True))}
    label = "gradient × input" if n_smooth == 0 else f"smoothed gradient × input ({n_smooth} copies)"
    yield "saliency", plot_maps(maps, axes=subject.axes, colour_label=label), told
    model = subject.score.model
    heads = LogOdds(model.head, subject.score.signal, subject.score.background)  # type: ignore[arg-type]
    cam = make_grad_cam(model.features, heads, subject.images, subject.features).numpy()  # type: ignore[arg-type]
    maps = subject.average(cam, bins)
    yield "grad_cam", plot_maps(maps, axes=subject.axes, colour_label="Grad-CAM", is_signed=False), {"grad_cam": maps}


def _draw_occlusion(subject: Subject) -> Drawn:
    few = choose_jets(subject.dataset.label, len(subject.dataset.class_names), MAX_OCCLUDED)
    size = _choose_patch(subject.dataset.shape)
    part = subject.select(few)
    drop = make_occlusion(part.score, part.images, part.features, size=size).numpy()
    by_class = {name: maps[""] for name, maps in part.average(drop, {"": np.ones(len(few), bool)}).items()}
    label = f"drop of the score ({'×'.join(map(str, size))} pixels emptied)"
    figure = plot_maps({"": by_class}, axes=subject.axes, colour_label=label)
    return (
        "occlusion",
        figure,
        {"occlusion": by_class, "occlusion_size": size[0] if len(set(size)) == 1 else list(size)},
    )


def _choose_patch(grid: Sequence[int]) -> tuple[int, ...]:
    """Patches of which about a hundred cover the grid."""
    if len(grid) == 2:
        return (max(2, min(grid) // 10),) * 2
    along = 100 ** (1 / len(grid))
    return tuple(max(1, round(size / along)) for size in grid)


def _bin_pt(dataset: ImageDataset) -> dict[str, NDArray[np.bool_]]:
    """Bins of pT with about equal numbers of jets, by title."""
    pt = np.asarray(dataset.jets["pt"], dtype=np.float64)
    edges = np.unique(np.quantile(pt, np.linspace(0, 1, N_PT_BINS + 1)))
    if len(edges) < 3:
        return {"all pT": np.ones(len(pt), bool)}
    inner = np.digitize(pt, edges[1:-1])
    names = [f"{low:.0f}–{high:.0f} GeV" for low, high in itertools.pairwise(edges)]
    return {name: inner == number for number, name in enumerate(names)}


def _draw_kernels(subject: Subject) -> Drawn:
    layer, kernels = find_first_kernels(subject.score.model, len(subject.dataset.channels))
    title = f"kernels of {layer}"
    if kernels.ndim == 5:
        kernels = subject.project(kernels)
        title += f", added up over {_name_gone(subject)}"
    figure = plot_kernels(kernels, channels=subject.dataset.channels, title=title)
    return "kernels", figure, {"first_layer": layer, "first_layer_shape": list(kernels.shape)}


def _name_gone(subject: Subject) -> str:
    """The axis that is not drawn."""
    axes, kept = grid_from_record(subject.dataset.attributes["grid"]).axes, choose_axes(subject.dataset.shape)
    return " and ".join(axis.name for place, axis in enumerate(axes) if place not in kept)


def _draw_feature_maps(subject: Subject, score: NDArray[Any]) -> Drawn:
    jet = int(np.argmax(score))
    one = slice(jet, jet + 1)
    maps = collect_maps(subject.score.model, subject.images[one], cut(subject.features, one))
    title = f"{subject.dataset.class_names[subject.dataset.label[jet]]} jet, log-odds {score[jet]:.1f}"
    image, channel = subject.project(subject.images[jet, 0].numpy()), subject.dataset.channels[0]
    # Maps of a network that takes layers as channels have two axes already.
    drawn = {n: subject.project(m[0]) if m.ndim == subject.images.ndim else m[0] for n, m in maps.items()}
    figure = plot_feature_maps(image, drawn, title=title, channel=channel)
    return "feature_maps", figure, {"stages": {name: list(values.shape[1:]) for name, values in maps.items()}}


def _draw_depths(subject: Subject, score: NDArray[Any]) -> Drawn:
    names, label = subject.dataset.class_names, subject.dataset.label
    numbers = names.index(subject.signal), names.index(subject.background)
    kept = np.isin(label, numbers)
    truth = label[kept] == numbers[0]
    if min(truth.sum(), (~truth).sum()) < 4:
        counts = f"{truth.sum()} jets of {subject.signal}, {(~truth).sum()} of {subject.background}"
        raise EmptySampleError(f"{counts}: at least four of each are needed")
    features = {"image": subject.images.flatten(2).mean(dim=2).numpy()[kept]}
    pooled = collect_maps(subject.score.model, subject.images, subject.features, pool=True)
    features |= {name: values[kept] for name, values in pooled.items()}
    points = probe_depths(features, truth)
    whole = auc(score[kept], truth)
    errors = [np.nan if point.err_stat is None else point.err_stat for point in points]
    figure = plot_depths(
        [point.name for point in points],
        [point.auc for point in points],
        errors,
        whole=(whole.value, whole.err_stat or 0.0),
        title=f"{subject.signal} against {subject.background}",
    )
    return "depths", figure, {"depths": [vars(point) for point in points], "auc": whole.to_dict()}
