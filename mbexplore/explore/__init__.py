"""The terminal explorer: what the page shows, over SSH and without a browser.

The state is a plain value and every key a pure function of it (`state`, `keys`); work runs in
threads (`runner`, `threads`); a pane draws what the views have and computes nothing (`panes`).
"""
