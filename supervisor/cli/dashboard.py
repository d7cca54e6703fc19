"""`openclaw dashboard`: the address of the control page, with the token that opens it."""

from __future__ import annotations

from supervisor.cli import client, context, endpoint, output
from supervisor.cli.nouns import Json, noun

app = noun("Print the address of the control page.")
APPS = {"dashboard": app}


@app.command()
def dashboard(json: Json = False) -> None:
    """Print the address of the control page; the token in it opens it, so do not pass it on."""
    ctx = context.current()
    loaded = ctx.load()
    try:
        running = client.status(ctx.paths)
        host, port = running.host, running.port
    except client.NotRunning:
        host, port = endpoint.bind(loaded.config.gateway)[1], endpoint.port(loaded.config.gateway, ctx.environ)[0]
        output.say("the gateway is not running\nhint: openclaw gateway start")
    address, token = endpoint.url(host, port), endpoint.token(loaded, ctx.paths)
    link = f"{address}#token={token}" if token else address
    if json:
        output.document_of({"url": link})
    else:
        output.data(link)
