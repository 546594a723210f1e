"""A record/replay proxy in front of a language model, with the OpenAI wire format on both sides."""
