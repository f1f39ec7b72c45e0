"""The report's pictures of average images."""

from collections.abc import Sequence
from pathlib import Path

from hepcnn import paths
from hepcnn.data.dataset import ImageDataset
from hepcnn.evaluation.image_plots import make_average_images, plot_average_images, project_images
from hepcnn.evaluation.plots import save_figure
from hepcnn.evaluation.report import Picture, make_picture
from hepcnn.grids import BoxGrid, CylinderGrid
from hepcnn.images.channels import find_channel
from hepcnn.images.grids import grid_from_record


def draw_average_images(dataset: ImageDataset, root: Path, difference: tuple[str, str] | None) -> list[Picture]:
    """Each channel averaged over all jets of a class; the first also as a file of the summary."""
    grid = grid_from_record(dataset.attributes["grid"])
    what = "shower" if isinstance(grid, CylinderGrid | BoxGrid) else "jet"
    pictures = []
    for column, channel in enumerate(dataset.channels):
        averages = make_average_images(
            dataset.indptr,
            dataset.index,
            dataset.value[:, column],
            dataset.label,
            dataset.weight,
            class_names=dataset.class_names,
            grid=dataset.shape,
        )
        if not any((image > 0).any() for image in averages.values()):
            continue
        found = find_channel(channel)
        normalised = "normalise" in steps_of(dataset) and found.scales_with_pt
        title = found.title.removesuffix(", GeV") if normalised else found.title
        label = "fraction of the jet's pT per pixel" if normalised else f"{title} per pixel"
        flat, axes = project_images(averages, grid.axes)
        figure = plot_average_images(
            flat,
            axes=axes,
            colour_label=label,
            is_rotated="rotate" in steps_of(dataset),
            difference=difference,
            what=what,
        )
        save_figure(figure, paths.summary_dir(root) / f"average_{channel.replace(':', '_')}")
        caption = f"{title}, averaged over all jets of each class, after {', '.join(steps_of(dataset)) or 'no step'}."
        pictures.append(make_picture(figure, title=f"Channel {channel}", caption=caption[0].upper() + caption[1:]))
    return pictures


def steps_of(dataset: ImageDataset) -> Sequence[str]:
    """The steps of preprocessing that images went through."""
    steps: Sequence[str] = dataset.attributes["preprocess"]["steps"]
    return steps
