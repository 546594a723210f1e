"""Kubernetes: one reader, one writer, and the queue between them."""
