"""The batch system that Snakemake submits to: what it can do, what runs there, and what a killed Snakemake left."""
