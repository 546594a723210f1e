"""A real Kubernetes cluster on one Debian machine without Docker, in the shape of kind-config.yaml.

Everything that Proctor claims about faults, deadlines and verdicts has to be seen on a real control plane. This package
builds one from Go modules and Debian packages and runs it in namespaces of its own, so that ending one process ends all
of it. With Docker at hand it hands over to `kind`; `CLUSTER=current` uses whatever kubectl points at.
"""
