"""Whether an answer to a probe comes from the servers behind it, told by the database and not by the answer."""

import httpx

from _helpers.state import Database

AT_LEAST, AT_MOST = 150, 3000
"""Probes. The database tells what it counted a second late, so probing goes on until it is seen."""
TABLE = "tenants"
"""What the platform reads to see whether its database answers."""


def probe(database: Database, http: httpx.Client, path: str) -> tuple[int, int, int]:
    """Ask a probe many times; gives how often, how often it was answered 200, and the scans of TABLE meanwhile.

    It ends early once there was a scan for every other probe: others use the platform too, but not at such a rate.
    """
    before = database.scans(TABLE)
    good = scans = 0
    for sent in range(1, AT_MOST + 1):
        good += http.get(path).status_code == 200
        if sent >= AT_LEAST and sent % 50 == 0:
            scans = database.scans(TABLE) - before
            if 2 * scans >= sent:
                return sent, good, scans
    return AT_MOST, good, scans
