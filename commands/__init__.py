"""What people type beside the doors: a file a command."""
