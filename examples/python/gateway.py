"""An OpenAI gateway around llmd's scheduler, of the standard library: gateway.py EPP.yaml BLOCK_SIZE PORT HOST:PORT ..."""
import collections, contextlib, http.client, http.server, json, pathlib, sys, urllib.request
import llmd_py as llmd

PASSED_ON = ("Content-Type", "Accept", "Authorization", "X-Request-Id")
JSON = {"Content-Type": "application/json", "Connection": "close"}
FAILED = (OSError, http.client.HTTPException)

def get(address, path, body=None):
    request = urllib.request.Request(f"http://{address}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)

def event_sockets(address):  # of the engine's first data-parallel rank: where it publishes, and where it replays
    rank, host = get(address, "/kv_event_sources")["0"], address.rpartition(":")[0]
    return tuple(socket and socket.replace("*", host) for socket in (rank["endpoint"], rank["replay_endpoint"]))

def tokenize(ask, body):
    for endpoint in pool if scheduler.needs.tokens else ():
        with contextlib.suppress(*FAILED):
            return ask["prompt"] if isinstance(ask.get("prompt"), list) else get(endpoint.address, "/tokenize", body)["tokens"]

class Gateway(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        try:
            tokens, lora, salt = tokenize(ask := json.loads(body), body), adapters.get(ask["model"]), ask.get("cache_salt")
            request = llmd.Request(ask["model"], tokens=tokens, headers=self.headers, lora=lora, salt=salt)
            with scheduler.decide(request, pool) as decision, contextlib.ExitStack() as connections:
                self.relay(request, decision, self.first_to_answer(decision, body, connections))
        except FAILED:  # the client, or the engine amid its answer: the end of the connection says so
            self.close_connection = True
        except (llmd.errors.LlmdError, ValueError, KeyError, TypeError, AttributeError) as error:
            status = 503 if isinstance(error, llmd.errors.UnavailableError) else 400
            self.answer(status, JSON, json.dumps({"error": {"message": f"{type(error).__name__}: {error}"}}))

    def first_to_answer(self, decision, body, connections):
        while True:
            connection = connections.enter_context(contextlib.closing(http.client.HTTPConnection(decision.address)))
            with contextlib.suppress(*FAILED):
                connection.request("POST", self.path, body, {n: self.headers[n] for n in PASSED_ON if n in self.headers})
                if (response := connection.getresponse()).status < 500:
                    return response
            if decision.advance() is None:  # while nothing has gone to the client, the next best can have the request
                raise llmd.errors.UnavailableError("every engine failed")

    def relay(self, request, decision, response):
        explained.append((f"/debug/explain/{request.id}", str(decision.explain()).splitlines()))
        framing = {"Content-Type": response.headers["Content-Type"], "Transfer-Encoding": "chunked"}
        self.answer(response.status, {**framing, "X-Llmd-Request": request.id, **decision.headers})
        while piece := response.read1(1 << 16):
            decision.first_token()  # the first is heard, and no other
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self):
        found = models if self.path == "/v1/models" else dict(explained.copy()).get(self.path)
        self.answer(200 if found else 404, JSON, json.dumps(found or {"error": {"message": f"no {self.path}"}}, indent=1))

    def answer(self, status, headers, text=""):
        self.send_response(status)
        for header in headers.items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(text.encode())

config, block_size, port, *engines = sys.argv[1:]
index = llmd.PrefixIndex(int(block_size))
pool = llmd.Pool(llmd.Endpoint(address, address, index=index) for address in engines)
scheduler = llmd.Scheduler.from_yaml(pathlib.Path(config).read_text(), index=index)
if scheduler.needs.metrics: sys.exit("the configuration looks at engines' metrics, which this example does not read")
models, explained = get(engines[0], "/v1/models"), collections.deque[tuple[str, list[str]]](maxlen=1000)
adapters = {model["id"]: model["id"] for model in models["data"] if model.get("parent")}
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Gateway)
print(json.dumps({"listening": f"127.0.0.1:{server.server_port}"}), flush=True)
with server, llmd.KvEventStream(index, {address: event_sockets(address) for address in engines}):
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
