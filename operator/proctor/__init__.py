"""Proctor: a Kubernetes operator that runs tests as custom resources and tells the truth about them."""

__version__ = "0.1.0"
