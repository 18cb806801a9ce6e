"""Every key of the explorer, once: what it is called, what it does, where it stands in the help."""

from __future__ import annotations

from dataclasses import dataclass

from mbexplore.explore.panes import pane_names


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        keys: as Textual names them, separated by commas.
        name: as people write it.
        action: what it runs.
        what: it does, in the help and the palette.
        group: of the help.
        brief: it does, at the foot of the screen; nothing for keys that don't stand there.
    """

    keys: str
    name: str
    action: str
    what: str
    group: str
    brief: str = ""


KEYS = (
    Key("left", "\N{LEFTWARDS ARROW} \N{RIGHTWARDS ARROW}", "move_token(-1)", "token", "Place"),
    Key("right", "", "move_token(1)", "", "Place"),
    Key("up", "\N{UPWARDS ARROW} \N{DOWNWARDS ARROW}", "move_layer(-1)", "layer", "Place"),
    Key("down", "", "move_layer(1)", "", "Place"),
    Key("left_square_bracket", "[ ]", "move_head(-1)", "head", "Place"),
    Key("right_square_bracket", "", "move_head(1)", "", "Place"),
    Key("home", "home", "go_to(0)", "first token", "Place"),
    Key("end", "end", "go_to(-1)", "last token", "Place"),
    Key("g", "g", "nearest('global')", "nearest global layer, or next", "Place"),
    Key("l", "l", "nearest('local')", "nearest local layer, or next", "Place"),
    Key("slash", "/", "find", "find a word, or a position", "Place", "find"),
    Key("tab", "tab", "write", "to the text, and back", "Text", "text"),
    Key("enter", "enter", "run", "run the text now", "Text"),
    Key("m", "m", "mask", "mask the token, or unmask it", "Text", "mask"),
    Key("h", "h", "turn('hf')", "Hugging Face on or off", "Text"),
    Key("escape", "esc", "stop", "stop the work; leave the text", "Text"),
    Key("1", "1 - 9", f"show('{pane_names()[0]}')", "view by its number", "Pane"),
    *(
        Key(str(n), "", f"show('{name}')", "", "Pane")
        for n, name in enumerate(pane_names()[1:9], start=2)
    ),
    Key("comma", ", .", "next_pane(-1)", "pane before, or after", "Pane"),
    Key("full_stop", "", "next_pane(1)", "", "Pane"),
    Key("pageup", "page up", "scroll_pane(-1)", "further up, or down", "Pane"),
    Key("pagedown", "", "scroll_pane(1)", "", "Pane"),
    Key("plus,equals_sign", "+", "zoom(1)", "nearer, down to the figures", "Pane", "nearer"),
    Key("minus", "-", "zoom(-1)", "farther, up to the whole text", "Pane"),
    Key("w", "w", "turn('words')", "word pieces as one word", "Pane", "words"),
    Key("s", "s", "turn('specials')", "special tokens on or off", "Pane"),
    Key("o", "o", "save", "save this view in a file", "Explorer", "save"),
    Key("y", "y", "copy", "copy the command that makes it", "Explorer", "copy"),
    Key("d", "d", "dark", "dark or light", "Explorer"),
    Key("ctrl+p", "ctrl+p", "command_palette", "everything by name", "Explorer"),
    Key("ctrl+z", "ctrl+z", "suspend_process", "to the shell; fg comes back", "Explorer"),
    Key("question_mark", "?", "help", "these keys", "Explorer", "help"),
    Key("q", "q", "quit", "leave; ctrl+c too", "Explorer", "quit"),
)
"""In the order of the help. A key without words of its own is the other half of the one before."""
