"""The Train tab: choose variants, watch their loss fall and their writing improve.

`tab` is the layout, `handlers` what its buttons do, `settings` the check of what its controls say, `texts` what there
is to learn from, `views` what a run looks like, `head_history` what the heads of its models did as they learned, and
`next_characters` what its models expect after a few words.
"""
