"""Inside the pod. Only the standard library and pytest may be imported: any image with Python 3.10 must run it."""
