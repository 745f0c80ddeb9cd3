"""Nearest neighbours in feature space: exact, or approximate by FAISS."""
