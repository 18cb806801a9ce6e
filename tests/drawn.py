"""What is written on a figure that was drawn, and what of it can't be read."""

from matplotlib.axes import Axes
from matplotlib.text import Text


def undrawn(figure):
    """Labels of ticks that lie outside of what an axis shows, or whose axes have none."""
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not axes.axison or not low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)


def visible_texts(figure):
    """What is written on a figure that was drawn: text, and its box in dots."""
    renderer, hidden = figure.canvas.get_renderer(), set(undrawn(figure))
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in hidden:
            yield text, text.get_window_extent(renderer)


def overlapping(figure, share=0.3):
    """Pairs of texts of which one covers more than a share of the other."""
    found = [(t, box) for t, box in visible_texts(figure) if t.get_rotation() % 90 == 0]
    for i, (one, a) in enumerate(found):
        for other, b in found[i + 1 :]:
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            tall = min(a.y1, b.y1) - max(a.y0, b.y0)
            least = min(a.width * a.height, b.width * b.height)
            if wide > 0 and tall > 0 and wide * tall > share * least > 0:
                yield one.get_text(), other.get_text()
