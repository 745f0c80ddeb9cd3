"""The label noise model of ``latent_label``, and kNN estimates of the class in feature space."""
