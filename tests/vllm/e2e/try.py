import sys, tempfile, time
from pathlib import Path
from engine import Engine, hand_over, prefilled
from prompts import all_kinds, tokens
from identity import alone, compare
model = Path(sys.argv[1]); transports = sys.argv[2].split(",")
folder = Path("/tmp/e2e"); folder.mkdir(exist_ok=True)
def config(role, name): return dict(kv_connector="LlmdConnector", kv_connector_module_path="llmd_py.vllm", kv_role=role, engine_id=name, kv_load_failure_policy="recompute", kv_connector_extra_config=dict(transports=transports, folder=str(folder/"sock")))
loras = {n: model.parent / n for n in ("lora-a","lora-b")}
P = Engine("P", 8310, folder, model, config("kv_producer","P"), 300, loras=loras).start()
D = Engine("D", 8311, folder, model, config("kv_consumer","D"), 400, loras=loras).start()
try:
    t=time.time(); P.ready(); D.ready(); print("up", time.time()-t)
    pr = all_kinds(list(loras))
    exp = alone(D, pr)
    print(compare(P, D, pr, exp))
    for e in (P,D):
        for l in e.get("/metrics").splitlines():
            if "llmd_" in l and not l.startswith("#") and "created" not in l: print(e.name, l)
finally:
    P.stop(); D.stop()
