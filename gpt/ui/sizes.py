"""The sizes that the tabs offer, of models, windows and contexts: a name means the same on every tab."""

SIZES = {
    "tiny: 2 layers, 64 wide": {"num_layers": 2, "num_heads": 2, "embed_size": 64},
    "small: 4 layers, 128 wide": {"num_layers": 4, "num_heads": 4, "embed_size": 128},
    "medium: 6 layers, 192 wide": {"num_layers": 6, "num_heads": 6, "embed_size": 192},
}
TINY, SMALL = list(SIZES)[:2]

TRAINED_WINDOW, LARGEST_TRAINED_WINDOW = 8, 64  # where the sliders of windows stand, and where that of Train ends
TRAINED_CONTEXT, TRAINED_CONTEXTS = 64, (32, 64, 128, 256)  # of the models that the Train tab makes
COUNTED_CONTEXTS = (64, 256, 1024, 4096)  # of those whose parts the Cost tab counts: at first, Train's
