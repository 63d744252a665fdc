"""An OpenAI gateway around llmd's scheduler, on asyncio, for any engines: scheduler_gateway.py EPP.yaml PORT HOST:PORT ..."""
import asyncio, collections, contextlib, json, pathlib, re, sys
import llmd_py as llmd

HOP = {"host", "content-length", "connection", "expect", "transfer-encoding"}  # headers that are anew on each connection
FAILED = (OSError, EOFError, asyncio.LimitOverrunError, asyncio.TimeoutError, ValueError, IndexError)

async def head(reader):  # the words of the first line, and the headers with names in lower case
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()[:-1]
    return first.split(), {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

def write(writer, first, headers, body=b""):
    lines = [first, *(f"{name}: {value}" for name, value in headers.items()), "connection: close", "", ""]
    writer.write("\r\n".join(lines).encode("latin-1") + body)

def answer(writer, status, facts):
    write(writer, f"HTTP/1.1 {status} llmd", {"content-type": "application/json"}, json.dumps(facts, indent=1).encode())

async def first_to_answer(decision, path, headers, body, connections):
    while True:
        changes = decision.request_headers  # where its other stages are done, and for which rank it is
        address = changes.destination or decision.address
        kept = {name: value for name, value in headers.items() if name not in HOP.union(changes.remove)}
        sent = {**kept, **changes.set, "host": address, "content-length": len(body)}
        with contextlib.suppress(*FAILED):
            host, _, port = address.rpartition(":")
            engine, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), timeout=5)
            connections.callback(writer.close)
            write(writer, f"POST {path} HTTP/1.1", sent, body)
            first, answered = await head(engine)
            if (status := int(first[1])) < 500:
                return engine, status, answered
        if decision.advance() is None:  # while nothing has gone to the client, the next best can have the request
            raise llmd.errors.UnavailableError("every engine failed")

async def relay(writer, path, headers, body):
    ask = json.loads(body)
    # Bytes stand in for tokens: what begins alike still begins alike. `gateway.py` asks the engines for theirs.
    prompt = json.dumps(ask.get("messages", ask.get("prompt"))).encode() if scheduler.needs.tokens else None
    request = llmd.Request(ask["model"], tokens=prompt and list(prompt), headers=headers, salt=ask.get("cache_salt"))
    with scheduler.decide(request, pool) as decision, contextlib.ExitStack() as connections:
        (engine, status, answered), tail = await first_to_answer(decision, path, headers, body, connections), b""
        explained.append({"id": request.id, **decision.explain().to_dict()})
        framing = {name: answered[name] for name in ("content-type", "content-length", "transfer-encoding") if name in answered}
        write(writer, f"HTTP/1.1 {status} llmd", {**framing, "x-llmd-request": request.id, **decision.headers})
        while piece := await engine.read(1 << 16):
            decision.first_token()  # the first is heard, and no other
            tail = (tail + piece)[-4096:]
            writer.write(piece)
            await writer.drain()
        if "transfer-encoding" in answered and not tail.endswith(b"0\r\n\r\n"):
            raise ConnectionError("the engine went away amid its answer")
        usage = re.findall(r'"(prompt|cached|completion)_tokens": ?(\d+)', tail.decode("latin-1"))
        decision.end(**{what.replace("completion", "output") + "_tokens": int(tokens) for what, tokens in usage})

async def serve(reader, writer):
    with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):  # of whoever is gone: nobody is left to be told
        try:
            (method, path, _), headers = await head(reader)
            if method == "POST":
                await relay(writer, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))
            else:
                answer(writer, *(200, list(explained)) if path == "/explain" else (404, {"error": {"message": f"no {path}"}}))
        except llmd.errors.LlmdError as error:
            answer(writer, error.status or 503, {"error": {"message": str(error), "code": error.reason}})
        except (ValueError, KeyError, TypeError, AttributeError, asyncio.LimitOverrunError) as error:
            answer(writer, 400, {"error": {"message": f"{type(error).__name__}: {error}"}})
        await writer.drain()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]), backlog=1024)
    print(json.dumps({"listening": "%s:%d" % server.sockets[0].getsockname()}), flush=True)
    await server.serve_forever()

pool = llmd.Pool(llmd.Endpoint(address, address) for address in sys.argv[3:])
scheduler = llmd.Scheduler.from_yaml(pathlib.Path(sys.argv[1]).read_text())
if scheduler.needs.metrics: print("metrics of engines, which the configuration looks at, stay unknown here", file=sys.stderr)
explained = collections.deque[dict](maxlen=1000)
with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
