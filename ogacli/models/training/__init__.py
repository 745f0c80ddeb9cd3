"""The reference trainer: samples and a model source -> checkpoints, one an epoch or one a fold."""
