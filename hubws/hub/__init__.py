"""Many peers: membership, topics, broadcast."""
