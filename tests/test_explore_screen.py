"""The explorer on a screen without a terminal: Textual's Pilot presses every key."""

import asyncio
import gc
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.segment import Segment

from mbexplore.checkpoints.hub import ModelFiles
from mbexplore.errors import ModelError
from mbexplore.explore.app import ExploreApp
from mbexplore.explore.history import History
from mbexplore.explore.keys import KEYS
from mbexplore.explore.look import Look
from mbexplore.explore.panes import pane_names, predict
from mbexplore.explore.widgets import Help
from mbexplore.explorer import Comparison, Explorer
from mbexplore.jobs import Job, Stopped, report
from mbexplore.session import Session
from tests.handbuilt import build_random, build_tokenizer, hook_count

TEXT = "a b c [MASK] d e f"
FRANCE = "The capital of France is [MASK]."
FIRST = f"1 {pane_names()[0][:4]}"
DARK = Look()


class HandModel:
    """A model of three layers; the place of Hugging Face is taken by ourselves."""

    def __init__(self):
        files = ModelFiles("handbuilt", "handbuilt", Path("handbuilt"))
        self.explorer = Explorer(build_random(), build_tokenizer(), files)
        self.explorer.compare_with_transformers = lambda answer: Comparison(
            "9", answer.masks, 1e-6, True
        )
        self.passes = 0
        self.explorer.model.encoder.embeddings.register_forward_hook(self._count)

    def _count(self, *_):
        self.passes += 1

    def __call__(self):
        return self.explorer


async def settle(app, pilot):
    """Until no work is left."""
    await pilot.pause()
    for _ in range(2000):
        if not len(app.workers):
            break
        await pilot.pause(0.005)
    assert not len(app.workers)
    await pilot.pause()


def drive(
    test, text=TEXT, size=(80, 24), look=DARK, history=None, model=None, pane="attention"
):  # fmt: skip
    """Runs `test(app, press)` on a fresh explorer; `press` waits for what the keys set off.

    Where no pane is named it begins as it does for everybody.
    """

    async def main():
        app = ExploreApp(model or HandModel(), text, history or History(None), look)
        app.where = replace(app.where, pane=pane or app.where.pane)
        async with app.run_test(size=size) as pilot:

            async def press(*keys):
                for key in keys:
                    await pilot.press(key)
                    await settle(app, pilot)

            await settle(app, pilot)
            app.pilot = pilot
            await test(app, press)
        return app

    return asyncio.run(main())


def screen(app):
    """The screen's lines."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def whole(app):
    return "\n".join(screen(app))


def before_last(app):
    """The pane before the one that is shown."""
    names = pane_names()
    return names[names.index(app.where.pane) - 1]


def scrolled(app):
    return app.query_one("#stage").scroll_offset.y


def lines(app):
    return app.query_one("#stage").lines


def sentences(app):
    """What is said until the next key."""
    return " ".join(one.message for one in app._notifications)


def test_every_key_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    driven = set()

    async def test(app, press):
        async def key(name, **expected):
            driven.add(name)
            await press(name)
            found = {what: getattr(app.where, what) for what in expected}
            assert found == expected, name

        assert app.where.token == 4 and "mask" not in app.error
        await key("left", token=3)
        await key("right", token=4)
        await key("home", token=0)
        await key("end", token=8)
        await key("up", layer=0)
        await key("down", layer=1)
        await key("right_square_bracket", layer=1, head=1)
        await press("right_square_bracket")
        await key("left_square_bracket", layer=1, head=1)
        await key("g", layer=0)
        await key("l", layer=1)
        for n, pane in enumerate(pane_names()[:9], start=1):
            await key(str(n), pane=pane)
            assert lines(app) and pane[:4] in whole(app)
        await key("c", pane="corpus", layer=1, head=1)
        assert "No corpus of handbuilt was named" in whole(app)
        await key("comma", pane=before_last(app))
        driven.add("full_stop")
        await press("full_stop")
        await press(str(1 + pane_names().index("lens")))
        await key("pagedown")
        assert scrolled(app) > 0
        await key("pageup")
        assert scrolled(app) == 0
        await key("plus", zoom=1)
        await key("minus", zoom=0)
        await key("w", words=True)
        await press("w")
        await key("s", specials=False, token=7)
        await press("s")
        await key("h", hf=False)
        assert "Hugging Face" not in whole(app)
        await press("h")
        assert "same top 5 as Hugging Face" in whole(app)
        driven.add("slash")
        await press("slash", "c", "enter")
        assert app.where.token == 3
        driven.add("m")
        await press("m")
        assert app.text == "a b [MASK] [MASK] d e f" == app.reading.session.encoding.text
        await press("m")
        assert app.text == TEXT and app.where.token == 3
        driven.add("y")
        await press("y")
        assert app.clipboard.startswith("mbexplore lens 'a b c [MASK] d e f'")
        driven.add("o")
        await press("o", *["backspace"] * 3, *"json", "enter")
        [saved] = tmp_path.iterdir()
        assert json.loads(saved.read_text())["target"]["position"] == app.where.token
        assert sentences(app) == f"Saved {saved.name}"
        driven.add("tab")
        await press("tab")
        assert app.focused.id == "field"
        await press("escape")
        assert app.focused.id == "stage"
        driven.add("enter")
        before = app.reading
        await press("enter")
        assert app.reading is not before and app.history.texts == [TEXT]
        driven.add("escape")
        await press("escape")
        driven.add("d")
        await press("d")
        assert not app.look.dark and app.theme == "mbexplore-light"
        for name in ("question_mark", "ctrl+p"):
            driven.add(name)
            await press(name)
            assert len(app.screen_stack) == 2
            await press("escape")
            assert len(app.screen_stack) == 1
        driven.add("q")
        await press("q")

    assert drive(test).return_value == 0
    suspend = {"ctrl+z"}  # in test_explore_terminal.py: it takes a terminal
    assert driven | suspend == {key.key.split(",")[0] for key in KEYS}


def test_it_opens_with_the_story_of_the_answer(tiny):
    async def test(app, press):
        told = " ".join(" ".join(s.text for s in line) for line in lines(app)).split()
        story = [one.text for one in tiny.why(FRANCE).data.story]
        assert len(story) > 5 and all(one in " ".join(told) for one in story)
        assert FIRST in whole(app) and app.where.pane == pane_names()[0] == "why"
        await press("left")  # another token is selected, and the answer is still the mask's
        assert " ".join(" ".join(s.text for s in line) for line in lines(app)).split() == told

    drive(test, text=FRANCE, size=(200, 60), model=lambda: tiny, pane=None)


def test_keys_look_and_never_run_the_model():
    model = HandModel()

    async def test(app, press):
        passes = model.passes
        for name in ("lens", "rope-score", "residual", "neurons"):
            await press(str(1 + pane_names().index(name)), "left", "down", "plus")
        await press("right_square_bracket", "w", "s", "s", "w")
        assert model.passes == passes

    drive(test, model=model)


def test_a_text_is_run_as_its_writer_pauses():
    async def test(app, press):
        assert app.focused.id == "field" and app.text.endswith("[MASK].")
        await app.pilot.press(*"[MASK] a b")  # what stood there was selected and is typed over
        assert app.reading.session.encoding.text != "[MASK] a b"
        await asyncio.sleep(0.4)
        await settle(app, app.pilot)
        assert app.reading.session.encoding.text == "[MASK] a b" and app.where.token == 1
        assert app.focused.id == "field" and not app.history.texts
        await press("enter")
        assert app.focused.id == "stage" and app.history.texts == ["[MASK] a b"]
        await press("tab", "end", "space", "c", "enter", "tab", "up", "up")
        assert app.query_one("#field").value == "[MASK] a b"
        await press("down", "down")
        assert app.query_one("#field").value == "[MASK] a b c"

    drive(test, text=None)


def test_the_screen_is_there_before_the_model_and_work_can_be_stopped():
    go, stopped = threading.Event(), []

    class Slow(HandModel):
        def __init__(self):
            super().__init__()
            self.record, self.explorer.record = self.explorer.record, self.patiently

        def __call__(self):
            assert go.wait(20)
            return super().__call__()

        def patiently(self, *args, **keywords):
            try:
                while not stopped:
                    report(0, 3)
            except Stopped:
                stopped.append(True)
                raise
            return self.record(*args, **keywords)

    async def main():
        app = ExploreApp(Slow(), TEXT, History(None), Look())
        async with app.run_test(size=(80, 24)) as pilot:
            await asyncio.sleep(0.15)
            await pilot.pause()
            assert "loading the model" in screen(app)[0] and FIRST in whole(app)
            await pilot.press("2", "right")
            go.set()
            while app.reading is None:
                await pilot.pause(0.01)
            assert not isinstance(app.reading.answer, str) and not app.reading.is_recorded
            await pilot.press("escape")
            await settle(app, pilot)
            for _ in range(200):
                await asyncio.sleep(0.01 if not stopped else 0)
            assert stopped and "Stopped" in sentences(app) and not app.reading.is_recorded
            await pilot.press("enter")
            await settle(app, pilot)
            assert app.reading.is_recorded and lines(app)

    asyncio.run(main())


def test_a_forward_pass_ends_at_the_next_layer_when_it_is_stopped():
    model, job, told = HandModel(), Job(), []

    def progress(done, total):
        told.append((done, total))
        job.is_wanted = False
        report(done, total)

    with job.begun(), pytest.raises(Stopped):
        predict(Session(model.explorer, TEXT, progress=progress), hf=False)
    assert told == [(1, 3)]
    assert hook_count(model.explorer.model) == 0


@pytest.mark.parametrize(
    "size,look",
    [((80, 24), Look(colour=False)), ((200, 60), Look(dark=False)), ((40, 12), DARK)],
    ids=repr,
)
def test_every_pane_fits_every_screen(size, look):
    async def test(app, press):
        for n in range(1, 9):
            await press(str(n), "plus", "down")
            stage = app.query_one("#stage")
            assert all(Segment.get_line_length(line) <= stage.size.width for line in lines(app))
            for line in lines(app):
                assert not any("\x1b" in segment.text for segment in line)
        if size != (40, 12):
            top = screen(app)
            assert "mbexplore" in top[0] and TEXT in top[1] and FIRST in whole(app)

    drive(test, size=size, look=look)


def test_work_that_is_ended_before_it_begins_leaves_nothing():
    async def test(app, press):
        await press("2")
        app._go()
        app._go()  # ends the first, whose task has not had its turn
        await settle(app, app.pilot)
        assert lines(app)

    drive(test)
    gc.collect()  # a coroutine that nobody awaited would complain now, and fail this test


def test_resizing_keeps_the_place():
    async def test(app, press):
        await press("2", "down", "right_square_bracket", "plus", "left")
        before = app.where
        await app.pilot.resize_terminal(200, 60)
        await settle(app, app.pilot)
        assert app.where == before and len(lines(app)) > 9
        assert app.query_one("#stage").size.height > 40
        await app.pilot.resize_terminal(80, 24)
        await settle(app, app.pilot)
        assert app.where == before

    drive(test)


def test_no_colours_leave_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def test(app, press):
        for n in range(1, 9):
            await press(str(n))
            for strip in app.screen._compositor.render_strips():
                for filtered in strip.apply_filter(
                    *app._filters[1:], app.screen.background_colors[1]
                ):
                    style = filtered.style
                    colours = {c.name for c in (style.color, style.bgcolor) if c} if style else {}
                    assert colours <= {"default"}

    drive(test, look=Look(colour=False))


@pytest.mark.parametrize(
    "text",
    [
        "a \x1b[31mred\x1b[0m b [MASK]",
        "a \x1b]52;c;ZXZpbA==\x07 \x9b2J [MASK]",
        "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} \u202eabc\u202c [MASK] a",
        "\N{CJK UNIFIED IDEOGRAPH-6771}\N{CJK UNIFIED IDEOGRAPH-4EAC} \N{GRINNING FACE} [MASK]",
        "a\nb\r\n\tc [MASK]\u2028d",
        "[bold]a[/bold] [@click=app.quit]b[/] [MASK]",
    ],
)
def test_no_text_steers_the_terminal(text):
    async def test(app, press):
        await press("4", "2", "6", "7", "y", "slash", "z", "z", "enter")
        seen = whole(app)
        for sign in ("\x1b", "\x07", "\x9b", "\u202e", "\t", "\r", "\u2028"):
            assert sign not in seen
        assert all(line == line.rstrip("\n") for line in screen(app))
        assert app.reading.session.encoding.text == text

    drive(test, text=text)


def test_a_paste_is_taken_whole_and_one_too_long_is_told():
    from textual.events import Paste

    async def test(app, press):
        await press("tab")
        field = app.query_one("#field")
        field.post_message(Paste("a b\r\nc [MASK] \x1b[31m\n"))
        await asyncio.sleep(0.4)
        await settle(app, app.pilot)
        assert app.reading.session.encoding.text == "a b\nc [MASK] \x1b[31m"
        assert "a b\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}c [MASK]" in screen(app)[1]
        field.value = ""
        field.post_message(Paste("a b " * 12_500))
        await asyncio.sleep(0.5)
        await settle(app, app.pilot)
        assert "25,002 tokens and the model takes 64" in " ".join(whole(app).split())
        field.value = "a [MASK]"
        await press("enter")
        assert "25,002" not in whole(app) and app.reading.session.encoding.text == "a [MASK]"

    drive(test)


def test_mistakes_are_sentences(tmp_path):
    async def test(app, press):
        await press("slash", *"nowhere", "enter")
        assert "no token or word 'nowhere'" in sentences(app)
        await press("2", "o", *["backspace"] * 30, *"x.doc", "enter")
        assert "x.doc ends in '.doc'" in sentences(app)
        await press("home", "m")
        assert "not in the text itself" in sentences(app)
        await press("tab", "ctrl+u", "enter")
        assert "The text is empty" in whole(app)

    drive(test)


def test_several_masks_and_none():
    async def test(app, press):
        assert "mask 1 of 2, token 2" in whole(app)
        await press("end")
        assert "mask 2 of 2, token 4" in whole(app)
        await press("m", "left", "m", "left", "left", "m")
        assert isinstance(app.reading.answer, str) or "[MASK]" in app.text

    drive(test, text="a [MASK] b [MASK]")


def test_a_text_without_a_mask_is_explored_all_the_same():
    async def test(app, press):
        assert "m masks the selected token" in " ".join(whole(app).split())
        await press(str(1 + pane_names().index("residual")))
        assert "embeddings" in whole(app)

    drive(test, text="a b c")


def test_a_damaged_model_is_a_sentence_without_a_mask_too():
    model = HandModel()
    model.explorer.model.encoder.layers[1].mlp.Wo.weight.data[0, 0] = float("nan")

    async def test(app, press):
        assert "has NaN in it" in app.error

    for text in (TEXT, "a b c"):
        drive(test, text, model=model)


def test_a_model_that_is_not_there_ends_it():
    def missing():
        raise ModelError("There is no model 'nope'.")

    async def main():
        app = ExploreApp(missing, TEXT, History(None), Look())
        async with app.run_test() as pilot:
            while app.failure is None:
                await pilot.pause(0.01)
        return app

    app = asyncio.run(main())
    assert str(app.failure) == "There is no model 'nope'." and app.return_value == 1


def test_help_holds_every_key_at_80_by_24():
    async def test(app, press):
        await press("question_mark")
        assert isinstance(app.screen, Help)
        seen = whole(app)
        for key in KEYS:
            assert key.tooltip in seen

    drive(test)
