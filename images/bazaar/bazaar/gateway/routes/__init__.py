"""The operations of the gateway, one module for each resource; each exports its `ROUTER`."""
