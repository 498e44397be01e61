"""The Experiments tab: a question, a prediction, a run, a measured answer.

`tab` is the layout, `handlers` what its controls do, `views` what the board is shown.
"""
