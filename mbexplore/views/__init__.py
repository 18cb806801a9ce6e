"""Answers in every form. A command, the page and the terminal explorer show the same views.

One file a command: a function from the service and the user's wishes to a `View`. Computes
nothing that an analysis could; knows no skin.
"""
