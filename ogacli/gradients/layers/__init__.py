"""What one layer's per-sample gradient is made of: one small file a family of layers."""
