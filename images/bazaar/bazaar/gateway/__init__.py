"""The gateway: the only role that clients talk to."""
