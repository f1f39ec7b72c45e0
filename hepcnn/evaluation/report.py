"""One HTML page about a study that opens offline, on a laptop and on paper."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hepcnn.errors import EmptySampleError, require
from hepcnn.evaluation.plots import figure_to_png
from hepcnn.evaluation.published import PublishedRow
from hepcnn.evaluation.tables import PairedDifference, TableRow, make_cells, make_published_cells, make_verdict
from hepcnn.evaluation.working_points import WorkingPoints


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes
    ----------
    title, caption
        Plain text. The title is also what a reader without the picture gets.
    png
        Bytes of a PNG file.
    """

    title: str
    caption: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """The picture as a ``data:`` address, so that the page needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


def make_picture(figure: Any, *, title: str, caption: str, dpi: int = 110) -> Picture:
    """Render a matplotlib Figure for the report."""
    return Picture(title, caption, figure_to_png(figure, dpi=dpi))


@dataclass(frozen=True)
class ClassCounts:
    """Jets of one class.

    Attributes
    ----------
    class_name
        Which class.
    n_read, n_kept
        Jets that were generated or read, and those that passed the selection.
    by_split
        Jets of each split, such as ``{"train": 30000, "val": 5000, "test": 15000}``.
    """

    class_name: str
    n_read: int
    n_kept: int
    by_split: Mapping[str, int]


@dataclass(frozen=True)
class SourceFile:
    """An input file.

    Attributes
    ----------
    path
        As the user named it.
    sha256
        Of its content; the report shows the first 12 digits, the rest as a tool tip.
    n_entries, size
        Entries and bytes, where known.
    n_written
        Jets of it that images were made of, where known.
    occupancy, pt_fraction
        Of these: the fraction of pixels that are not zero, and the fraction of pT inside the grid, where known.
    """

    path: str
    sha256: str
    n_entries: int | None = None
    size: int | None = None
    n_written: int | None = None
    occupancy: float | None = None
    pt_fraction: float | None = None


@dataclass(frozen=True)
class SkippedFile:
    """An input file that was set aside, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class CutflowRow:
    """A line of the cutflow: what it is about, and the number of jets by class."""

    title: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class RunLink:
    """A tracked run.

    Attributes
    ----------
    name, run_id
        As the tracker knows it.
    uri
        Where to see it. An ``http(s)`` address becomes a link; anything else, such as a command, is shown as it is.
    """

    name: str
    run_id: str
    uri: str = ""

    @property
    def is_link(self) -> bool:
        """Whether the address may be clicked; never one with a script in it."""
        return self.uri.startswith(("http://", "https://"))


@dataclass(frozen=True)
class CostLine:
    """What a stage cost: jobs, hours planned (None: no plan) and used, processor hours and GB of memory (or NaN)."""

    stage: str
    jobs: int
    planned_hours: float | None
    used_hours: float
    processor_hours: float
    memory_gb: float


@dataclass(frozen=True)
class EnergySection:
    """How well the energies of a class of showers are measured.

    Attributes
    ----------
    class_name
        Which class.
    cells
        The table, a heading and a line for each tagger.
    verdict, goal
        Who is ahead; how the best network stands to the energy sum, empty where nobody can say.
    pictures
        Resolution, linearity, tails …
    """

    class_name: str
    cells: Sequence[Sequence[str]]
    verdict: str
    goal: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class StudyReport:
    """Everything that the report says. All text is plain and is escaped; empty parts are left out of the page.

    Attributes
    ----------
    name
        Of the study.
    date
        When it was run, for a person to read.
    signal, background
        Names of the two classes that the table is about.
    rows, differences
        Of the comparison table: what `hepcnn.evaluation.study.make_rows` and ``compare_taggers`` give.
    published
        Rows of others, below ours.
    is_paired
        Whether all taggers were tested on the same jets.
    summary
        A sentence or two on what was done.
    versions
        By program or library.
    config
        Settings worth reading, by name; not the whole file.
    data
        Jets per class.
    sources
        Input files.
    skipped
        Input files that were set aside.
    cutflow
        Jets read, left out by reason, and written, in order.
    spectra
        Pictures of the jets.
    average_images, performance, training
        Pictures of the three sections.
    showers
        Pictures of single showers and of average profiles.
    energies
        Sections on measured energies, by class.
    rejections
        Rejections in bins of energy, lines of cells with a heading.
    responses, response_table
        Pictures of how taggers answer to other detectors and samples; their AUCs, lines of cells with a heading.
    explanations
        By tagger: pictures of what its network looks at.
    working_points
        By tagger.
    runs
        Tracked runs.
    reuse_python, reuse_cli
        Snippets that load the bundle of this study and score jets.
    notes
        What a reader should know before quoting a number.
    costs, cost_notes
        What each stage cost, and what a reader should know of that.
    """

    name: str
    date: str
    signal: str
    background: str
    rows: Sequence[TableRow]
    differences: Sequence[PairedDifference] = ()
    published: Sequence[PublishedRow] = ()
    is_paired: bool = True
    summary: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    data: Sequence[ClassCounts] = ()
    sources: Sequence[SourceFile] = ()
    skipped: Sequence[SkippedFile] = ()
    cutflow: Sequence[CutflowRow] = ()
    spectra: Sequence[Picture] = ()
    average_images: Sequence[Picture] = ()
    performance: Sequence[Picture] = ()
    training: Sequence[Picture] = ()
    showers: Sequence[Picture] = ()
    energies: Sequence[EnergySection] = ()
    rejections: Sequence[Sequence[str]] = ()
    responses: Sequence[Picture] = ()
    response_table: Sequence[Sequence[str]] = ()
    explanations: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    working_points: Mapping[str, WorkingPoints] = field(default_factory=dict)
    runs: Sequence[RunLink] = ()
    reuse_python: str = ""
    reuse_cli: str = ""
    notes: Sequence[str] = ()
    costs: Sequence[CostLine] = ()
    cost_notes: Sequence[str] = ()


def make_report(study: StudyReport) -> str:
    """Write the report as one HTML text with every picture inside.

    Returns
    -------
    str
        A whole page: no script, no request to anywhere, everything escaped.

    Raises
    ------
    EmptySampleError
        For a study without taggers.
    """
    if not study.rows and not study.energies:
        raise EmptySampleError("no tagger: there is nothing to report")
    jinja2 = require("jinja2", extra="evaluate")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hepcnn.evaluation", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    splits = list(dict.fromkeys(split for counts in study.data for split in counts.by_split))
    page: str = environment.get_template("report.html.j2").render(
        study=study,
        cells=make_cells(study.rows, study.differences) if study.rows else [],
        published=make_published_cells(study.published),
        verdict=make_verdict(study.rows, study.differences) if study.rows else "",
        splits=splits,
        several_seeds=any(row.metrics.get("n_seeds", 1) > 1 for row in study.rows),
        n_signal=study.rows[0].metrics["n_signal"] if study.rows else 0,
        n_background=study.rows[0].metrics["n_background"] if study.rows else 0,
    )
    return page
