"""The Cost tab: time, cache, parameters and arithmetic, by formula and measured on this machine.

`tab` is the layout, `handlers` what its controls do, `settings` the check of what they say; `timing_view`, `cache_view`
and `parts_view` measure and compute what its three pictures show.
"""
