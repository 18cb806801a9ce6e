"""The terminal explorer: what the page shows, over SSH and without a browser.

The state is a plain value and every key a function of it; work runs in threads.
"""
