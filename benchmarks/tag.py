"""What `hepcnn tag` costs beside the network alone: a file of jets in, a friend tree out, in processor time.

    python -m benchmarks.tag --bundle results/demo/cnn/seed1/bundle [--jets 20000] [--repeats 3]

Both run in one process and one thread. "The network alone" gets dense images that were made before it is timed; tagging
reads the file, makes the images, runs the same network, writes the friend tree and reads it back. The best of the
repeats counts. The share that is asked for is 70 %.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.jets import write_jets
from hepcnn import Tagger
from hepcnn.io.reader import iterate_jets
from hepcnn.tagger import TagOptions, tag_file
from hepcnn.tagger.tagger import BATCH

SCHEMA = "hepcnn"


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """Least processor seconds of some repeats."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def score_images(tagger: Tagger, path: Path) -> Callable[[], object]:
    """A function that runs the network on all images of a file, made now."""
    batches = []
    for batch in iterate_jets(path, SCHEMA):
        pixels = tagger.recipe.make_pixels(batch.flat)
        features = tagger.recipe.make_jet_features(batch.flat)
        stacked = np.stack([features[name] for name in tagger.recipe.jet_features] or [batch.pt], axis=1)
        for start in range(0, len(pixels), BATCH):
            stop = min(start + BATCH, len(pixels))
            dense = pixels.select(start, stop).to_dense(tagger.recipe.grid.shape)
            batches.append((dense, np.ascontiguousarray(stacked[start:stop], dtype=np.float32)))
    return lambda: [tagger.score_images(*batch) for batch in batches]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--jets", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    tagger = Tagger.load(asked.bundle, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jets.root"
        write_jets(path, asked.jets, n_prongs=3, seed=1)
        alone = best_of(asked.repeats, score_images(tagger, path))
        print(f"{tagger}: {asked.jets:,} jets of some 50 constituents, one thread, processor time\n")
        print("| what | µs a jet | of the network's throughput |")
        print("| --- | --- | --- |")
        print(f"| the network alone, {BATCH} images at once | {1e6 * alone / asked.jets:.0f} | 100 % |")
        for form in ("ttree", "rntuple"):
            options = TagOptions(form=form, select=False)  # type: ignore[arg-type] # one of the two
            output = Path(folder) / f"{form}.root"
            whole = best_of(asked.repeats, lambda: tag_file(tagger, path, output, schema=SCHEMA, options=options))  # noqa: B023
            print(f"| `hepcnn tag`, {form} | {1e6 * whole / asked.jets:.0f} | {100 * alone / whole:.0f} % |")


if __name__ == "__main__":
    main()
