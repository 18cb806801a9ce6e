"""Every key of the explorer, once: what it does, and where it stands in the help."""

from __future__ import annotations

from textual.binding import Binding

from mbexplore.explore.panes import CORPUS, pane_names


def key(
    keys: str, action: str, what: str = "", shown: str | None = None, brief: str = ""
) -> Binding:
    """A key: what it does, how it is written if not as by Textual, and its word at the foot."""
    # Without `what` it is the other half of the key before.
    return Binding(keys, f"app.{action}", brief or what, bool(brief), shown, tooltip=what)


SECTIONS = {
    "Place": (
        key("left", "step('token', -1)", "token", "←→", "token"),
        key("right", "step('token', 1)"),
        key("up", "step('layer', -1)", "layer", "↑↓", "layer"),
        key("down", "step('layer', 1)"),
        key("left_square_bracket", "step('head', -1)", "head", "[ ]", "head"),
        key("right_square_bracket", "step('head', 1)"),
        key("home", "go(0)", "first token"),
        key("end", "go(-1)", "last token"),
        key("g", "nearest('global')", "nearest global layer, or next"),
        key("l", "nearest('local')", "nearest local layer, or next"),
        key("slash", "find", "find a word, or a position", brief="find"),
    ),
    "Text": (
        key("tab", "focus('field')", "to the text, and back", brief="text"),
        key("enter", "run", "run the text now"),
        key("m", "mask", "mask the token, or unmask it", brief="mask"),
        key("h", "turn('hf')", "Hugging Face on or off"),
        key("escape", "stop", "stop the work; leave the text"),
    ),
    "Pane": (
        key("1", f"show('{pane_names()[0]}')", "view by its number", "1 - 9"),
        *(key(str(n), f"show('{name}')") for n, name in enumerate(pane_names()[1:9], start=2)),
        key("comma", "next_pane(-1)", "pane before, or after", ", ."),
        key("full_stop", "next_pane(1)"),
        key("c", f"show('{CORPUS}')", "this head, in the corpus"),
        key("pageup", "scroll('up')", "further up, or down", "page up"),
        key("pagedown", "scroll('down')"),
        key("plus,equals_sign", "step('zoom', 1)", "nearer, down to the figures", "+"),
        key("minus", "step('zoom', -1)", "farther, up to the whole text"),
        key("w", "turn('words')", "word pieces as one word"),
        key("s", "turn('specials')", "special tokens on or off"),
    ),
    "Explorer": (
        key("o", "save", "save this view in a file", brief="save"),
        key("y", "copy", "copy the command that makes it", brief="copy"),
        key("d", "dark", "dark or light"),
        key("ctrl+p", "command_palette", "everything by name"),
        key("ctrl+z", "suspend_process", "to the shell; fg comes back"),
        key("question_mark", "help", "these keys", brief="help"),
        key("q", "quit", "leave; ctrl+c too", brief="quit"),
    ),
}
"""By the groups of the help, in its order."""

KEYS = tuple(one for section in SECTIONS.values() for one in section)
