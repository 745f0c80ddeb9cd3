"""Train again on other choices of samples: ``oga verify`` and ``budget: benefit``."""
