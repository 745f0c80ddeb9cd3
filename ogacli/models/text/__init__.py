"""Texts as tokens, adapters, and the safe loading of folders: what only networks of transformers need."""
