"""placeholder"""

from ogacli.options import Options


class TrainOptions(Options):
    """placeholder"""
