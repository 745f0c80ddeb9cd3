"""placeholder"""


def load_weights(module, path): ...
