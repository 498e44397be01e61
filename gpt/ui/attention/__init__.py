"""The Attention tab: what every head of one or two models reads, and what follows from it.

`tab` is the layout, `handlers` what its controls do, and `views` what a look into a model shows.
"""
