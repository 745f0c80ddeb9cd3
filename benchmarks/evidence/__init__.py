"""The parts of ``benchmarks/detection.py``: sets with wrong labels, trainings on them, scores, tables."""
