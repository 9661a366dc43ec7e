"""A few steps of training, to choose a learning rate or a batch size by."""
