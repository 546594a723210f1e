"""Inside the test pods: fetches the source, supervises pytest, and says what it saw. docs/runner.md tells the story.

Runs in any image with Python 3.10 and pytest 7.4: the standard library, pytest, and a few modules of core and api.
"""
