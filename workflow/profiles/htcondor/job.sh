#!/bin/sh
# What HTCondor starts on a node. Pools that copy the executable of a job, as CERN's does, would copy the interpreter, and
# that finds no package away from its environment; this file may be copied. The plugin gives the interpreter by its full
# path as the first argument where software is shared; else HEPCNN_PYTHON names it.
case $1 in
    /*) exec "$@" ;;
    *) exec "${HEPCNN_PYTHON:-python3}" -m snakemake "$@" ;;
esac
