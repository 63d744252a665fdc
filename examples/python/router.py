"""A gateway of the standard library's asyncio around a Router: router.py PORT HOST:PORT ... [EPP.yaml]"""
import asyncio, contextlib, json, sys
from llmd_py import Router
from llmd_py.errors import LlmdError, UnavailableError

async def serve(router, reader, writer):
    with contextlib.closing(writer), contextlib.suppress(OSError, EOFError, UnavailableError):  # of whoever goes away amid it
        (_, path, _), headers = await head(reader)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        try:
            if path == "/explain":  # where would it go, and why
                return answer(writer, 200, (await router.explain(body)).to_dict())
            completion = await router.complete(body, path=path, headers=headers)
        except LlmdError as error:
            return answer(writer, error.status or 503, {"error": {"message": str(error), "code": error.reason}})
        async with completion:  # a client that goes away ends both legs
            shown = {"content-type": completion.headers.get("content-type", "text/plain"), "transfer-encoding": "chunked"}
            hit = {"x-llmd-engine": completion.pick.endpoint.name, "x-llmd-predicted-hit-tokens": completion.pick.hit_tokens}
            begin(writer, completion.status, {**shown, **hit, **completion.pick.response_headers})
            async for piece in completion:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")

async def head(reader):
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()[:-1]
    return first.split(), {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

def begin(writer, status, headers):
    lines = [f"HTTP/1.1 {status} llmd", *(f"{name}: {value}" for name, value in headers.items()), "connection: close", "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))

def answer(writer, status, facts):
    begin(writer, status, {"content-type": "application/json"})
    writer.write(json.dumps(facts).encode())

async def main(port, *engines):
    config = engines[-1] if engines[-1].endswith(".yaml") else None
    async with Router(engines[: len(engines) - bool(config)], config) as router:
        server = await asyncio.start_server(lambda *connection: serve(router, *connection), "127.0.0.1", int(port))
        print(json.dumps({"listening": "%s:%d" % server.sockets[0].getsockname()}), flush=True)
        await server.serve_forever()

with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(*sys.argv[1:]))
