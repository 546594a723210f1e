"""The model server: deterministic, with the OpenAI wire format and a ledger of its calls."""
