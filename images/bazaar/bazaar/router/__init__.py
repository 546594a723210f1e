"""The router: a small trained classifier that decides which agent a message is for."""
