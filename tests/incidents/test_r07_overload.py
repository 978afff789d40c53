"""R7, Aviator 2016, Sphinx and Nessie 2025: more came in than could be taken, and promises could not be kept.

What a server answers to overload (429 or 503 with Retry-After) is tested with the server.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.incidents.programs import run

# Eight threads submit without waiting, onto a disk whose every sync takes 20 ms.
FLOOD = """
import json, resource, sys, threading, time
import tlog
from tlog.storage.disk import Disk

class SlowDisk(Disk):
    def sync(self, fd, path):
        time.sleep(0.02)

ledger = tlog.Ledger.create(sys.argv[1], origin="audit.example.com", disk=SlowDisk())
users = ledger.partition("users")
users.append("x" * 30_000)
threads, each, text = 8, int(sys.argv[2]), "x" * 30_000
told, lock = [], threading.Lock()

def flood(thread):
    for number in range(each):
        receipt = users.submit([thread, number, text])
        with lock:
            told.append(([thread, number], receipt))

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
running = [threading.Thread(target=flood, args=(number,)) for number in range(threads)]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
for _, receipt in told:
    receipt.result()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = users.publish().tree_size
stored = {receipt.result().seq: what for what, receipt in told}
right = all(stored[entry.seq] == entry.data[:2] for entry in users.entries(1))
print(json.dumps({"grown_kib": peak - before, "size": size, "told": len(stored), "right": right}))
"""


def test_r07_memory_is_bounded_and_every_acknowledged_entry_is_integrated(tmp_path: Path) -> None:
    """Three times as much offered needs no more memory, and all that was acknowledged is in the published tree.

    The submitters wait where 16 MiB of their entries wait to be written; what a client keeps are receipts.
    """
    grown = []
    for each in (150, 450):  # 36 MB and 108 MB of events
        report = json.loads(run(FLOOD, tmp_path / str(each), each))
        assert report["size"] == 1 + 8 * each
        assert report["told"] == 8 * each
        assert report["right"]
        grown.append(report["grown_kib"])
    assert grown[1] < 120_000, grown
