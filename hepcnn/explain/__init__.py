"""What a trained network looks at, and what it has learnt, in plain torch.

Shapes: N jets, C channels, (n_eta, n_phi) the grid, F jet-level inputs, D channels of a feature map of (h, w).
"""
