"""Networks: built by name, kept in a checkpoint, fed with pixels."""
