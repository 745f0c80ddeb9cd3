"""Models: batches of inputs in, logits and the features that the head read out."""

from ogacli.models.network import Model, Network, Outputs

__all__ = ["Model", "Network", "Outputs"]
