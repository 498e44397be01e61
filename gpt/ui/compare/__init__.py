"""The Compare tab: what several models write, expect and find surprising, side by side.

`tab` is the layout, `handlers` what its buttons do, `settings` the check of how to write, `writing` the models at their
work, and `views` what they expect and how a text surprises them.
"""
