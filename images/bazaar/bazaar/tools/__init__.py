"""The tools: what agents may do to the shop, each effect once for its key."""
