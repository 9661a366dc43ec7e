"""What is fetched over a network, whole and verified."""
