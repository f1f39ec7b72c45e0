"""Segmented calorimeters: materials, layers and cells, read from one YAML file for each detector."""

from hepcnn.calorimeters.calorimeter import Calorimeter as Calorimeter
from hepcnn.calorimeters.reading import list_detectors as list_detectors
from hepcnn.calorimeters.reading import parse_calorimeter as parse_calorimeter
from hepcnn.calorimeters.reading import read_calorimeter as read_calorimeter
