"""The panes, one file each: what stands below the predictions."""

from mbexplore.explore.panes import activations, atlas, band, heads, lens, links, map, rope
from mbexplore.explore.panes.pane import Pane as Pane
from mbexplore.explore.panes.pane import Picture as Picture
from mbexplore.explore.panes.pane import Scene as Scene
from mbexplore.explore.panes.pane import say_all as say_all

_ALL = (heads, map, band, links, rope, lens, activations, atlas)
PANES_BY_NAME = {each.PANE.name: each.PANE for each in _ALL}
