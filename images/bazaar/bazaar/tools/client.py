"""How other roles use the tools: one form of a call, and one way to send it."""

import httpx

from bazaar import tracing
from bazaar.tools.effects import Call, Result


async def use(http: httpx.AsyncClient, tool: str, call: Call) -> Result:
    """Have a tool do something: {"ok": true, ...}, or {"ok": false, "code": ...} for what the shop will not do.

    Raises httpx.HTTPError or ValueError if there is no answer that can be understood.
    """
    headers = tracing.headers() | {"Content-Type": "application/json"}
    response = await http.post(f"/tools/{tool}", content=call.model_dump_json(), headers=headers)
    result: Result = response.raise_for_status().json()
    return result
