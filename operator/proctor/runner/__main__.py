"""Entry of `python -m proctor.runner` and of the copy in the pod, `python3 /proctor/work/runner`.

The image is the user's, so its Python may be old: this file and old_python.py must be readable by Python 3.6,
and everything else is imported only after the version is known to do.
"""

import sys

OLDEST = (3, 10)

if sys.version_info[:2] < OLDEST:
    from proctor.runner.old_python import refuse

    sys.exit(refuse(sys.argv[1:], OLDEST))
else:
    from proctor.runner.main import main

    sys.exit(main(sys.argv[1:]))
