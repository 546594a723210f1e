"""Decisions about ChaosExperiments."""
