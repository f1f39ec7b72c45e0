"""Which input site meets which output site under which weight of a kernel.

Shapes: K kernel offsets in C order, N input sites, M output sites, P pairs, d spatial dimensions.
"""

import torch
from torch import Tensor

from hepcnn.errors import InputError
from hepcnn.sparse.layout import PairLayout
from hepcnn.sparse.outputs import find_outputs, most_outputs
from hepcnn.sparse.search import find_neighbours, transpose_table
from hepcnn.sparse.sites import Sites
from hepcnn.sparse.window import Window


class KernelMap:
    """All meetings of input and output sites, as a table; other forms are derived once and kept.

    Within one offset no input and no output appears twice.

    Attributes
    ----------
    window
        The geometry it was built for.
    table
        (K, M) int32: the input row that output m meets under offset k, or -1.
    inputs, outputs
        The coordinates (N, 1+d) and (M, 1+d), int32.
    in_shape, out_shape, batch_size
        The grids they live on.
    padded
        Whether rows of inputs and outputs may be no sites, as in `hepcnn.sparse.sites.Sites`.
    transposed
        Whether the window slid over the outputs to give the inputs: the map of a transposed convolution.
    """

    def __init__(
        self, window: Window, table: Tensor, inputs: Sites, outputs: Sites, *, transposed: bool = False
    ) -> None:
        self.window, self.table, self.transposed = window, table, transposed
        # Not the sites themselves, which keep this map: a reference cycle would hold device memory until a collection.
        self.inputs, self.in_shape = inputs.coords, inputs.spatial_shape
        self.outputs, self.out_shape, self.batch_size = outputs.coords, outputs.spatial_shape, inputs.batch_size
        self.padded = inputs.padded
        self._back: Tensor | None = None
        self._layout: PairLayout | None = None
        self._back_layout: PairLayout | None = None

    @property
    def centre(self) -> int | None:
        """The offset that maps each site to itself (submanifold), or None."""
        return self.window.volume // 2 if self.window.submanifold else None

    def back(self) -> Tensor:
        """(K, N) int32: the output row that input n meets under offset k, or -1."""
        if self._back is None:
            # The offset -o maps b to a wherever o maps a to b.
            submanifold = self.window.submanifold
            self._back = self.table.flip(0) if submanifold else transpose_table(self.table, self.inputs.shape[0])
        return self._back

    def layout(self) -> PairLayout:
        """The pairs in blocks, for results on the outputs."""
        if self._layout is None:
            self._layout = PairLayout.of(self.table, self.inputs.shape[0], self.centre)
        return self._layout

    def back_layout(self) -> PairLayout:
        """The pairs in blocks, for gradients on the inputs; that of a submanifold map has its offsets mirrored."""
        if self.window.submanifold:
            return self.layout()
        if self._back_layout is None:
            self._back_layout = PairLayout.of(self.back(), self.outputs.shape[0], None)
        return self._back_layout


def map_sites(sites: Sites, window: Window, *, grid_budget: int | None = None) -> tuple[KernelMap, Sites]:
    """Find or build the kernel map of a window on a set of sites.

    Parameters
    ----------
    sites
        The input sites; they remember the result.
    window
        The geometry.
    grid_budget
        The bytes that an index grid may take before sorting replaces it; if None,
        `hepcnn.sparse.search.grid_budget_of` says.  Both ways give identical maps.

    Returns
    -------
    KernelMap
        The meetings.
    Sites
        The output sites: the input's own for a submanifold window, else every site whose window holds an active
        input, in C order. No active input gives no output.

    Raises
    ------
    ConfigError
        When the window does not fit the grid, or the cells of the padded grids cannot be numbered.
    """
    key = (window, grid_budget)
    if key not in sites.maps:
        budget = -1 if grid_budget is None else grid_budget
        outputs = None if window.submanifold else _output_sites(sites, window, budget)
        sites.maps[key] = (_build_map(sites, window, outputs, budget), outputs)
    found, outputs = sites.maps[key]
    return found, sites if outputs is None else outputs


def map_back(sites: Sites, window: Window, target: Sites) -> KernelMap:
    """Find or build the map from a strided convolution's output sites back to its input sites.

    Parameters
    ----------
    sites
        Where the features are: what ``window`` makes of ``target``, in the same order.
    window
        The geometry of the strided convolution.
    target
        The sites to return to; they remember the result.

    Raises
    ------
    InputError
        When ``sites`` are not what the window makes of ``target``.
    """
    key = (window, "back")
    forward, outputs = map_sites(target, window)
    if outputs is not sites:
        fits = (outputs.spatial_shape, outputs.batch_size) == (sites.spatial_shape, sites.batch_size)
        if not fits or outputs.coords.device != sites.coords.device or not torch.equal(outputs.coords, sites.coords):
            raise InputError(
                f"the way back leads from {len(outputs)} sites of {outputs.batch_size} grids {outputs.spatial_shape}, "
                f"which the window makes of the target, but the features are on {len(sites)} sites of "
                f"{sites.batch_size} grids {sites.spatial_shape}, or in another order"
            )
    if key not in target.maps:
        target.maps[key] = KernelMap(window, forward.back(), outputs, target, transposed=True)
    found: KernelMap = target.maps[key]
    return found


def _build_map(sites: Sites, window: Window, outputs: Sites | None, budget: int) -> KernelMap:
    geometry = window.numbers(), list(sites.spatial_shape), sites.batch_size, budget, sites.padded
    if outputs is None:
        window.output_shape(sites.spatial_shape)
        return KernelMap(window, find_neighbours(sites.coords, None, *geometry), sites, sites)
    return KernelMap(window, find_neighbours(sites.coords, outputs.coords, *geometry), sites, outputs)


def _output_sites(sites: Sites, window: Window, budget: int) -> Sites:
    shape = window.output_shape(sites.spatial_shape)
    grids = list(sites.spatial_shape), list(shape), sites.batch_size
    most = most_outputs(len(sites), window, shape, sites.batch_size) if sites.padded else -1
    coords = find_outputs(sites.coords, window.numbers(), *grids, budget, most)
    return Sites(coords, shape, sites.batch_size, in_order=True, padded=sites.padded)
