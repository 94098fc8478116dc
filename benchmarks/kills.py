"""Workers killed (-9) at random points: is the provider's bill ever above the cap, and is anything held for good?

    python -m benchmarks.kills [kills]

Real processes on one SQLite ledger, real HTTP to a local provider that bills a call the moment it arrives. A worker
reserves, calls, settles; the parent kills one at random, 200 times, and starts another. A hold whose worker died is
presumed spent when it expires, so the bill cannot pass the cap; what that over-books is printed as well.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.support.provider import ProviderProcess
from budgeted_agents.ledgers import open_ledger
from budgeted_agents.ledgers.contract import Account, Hold, Reservation
from budgeted_agents.testing import LIST_PRICES, fill
from budgeted_agents.testing.replies import ReplyPolicy

KILLS = 200
WORKERS, RUNS = 4, 4
TTL = 0.4
INPUT, OUTPUT = 1_000, 500
PRICE = LIST_PRICES["gpt-4o-mini"]
BASE = int(INPUT * PRICE.input * 1000)  # nano-USD: a price in USD for a million tokens is 1000 nano-USD for one
RATE = int(PRICE.output * 1_000_000)
COST = BASE + OUTPUT * RATE // 1000
FORK = multiprocessing.get_context("fork")


def policy() -> ReplyPolicy:
    return fill(OUTPUT, input_tokens=INPUT)


def work(ledger_url: str, provider: str, cap: int, seed: int) -> None:
    """Reserve, call, settle, until there is no money or no life left."""
    ledger = open_ledger(ledger_url)
    account = Account("session", (("session", "s"),))
    connection = http.client.HTTPConnection(urlsplit(provider).netloc)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": OUTPUT}
    while True:
        id, now = os.urandom(16).hex(), time.time()
        answer = ledger.reserve(id, [Hold(account, cap, BASE, RATE)], floor=OUTPUT, ask=OUTPUT, now=now, ttl=TTL)
        if not isinstance(answer, Reservation):
            if not answer.waiting_helps:
                return
            time.sleep(0.005)
            continue
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        connection.getresponse().read()
        ledger.settle(id, {"usd": COST}, now=time.time())


def start(url: str, provider: str, cap: int, seed: int) -> BaseProcess:
    worker = FORK.Process(target=work, args=(url, provider, cap, seed), daemon=True)
    worker.start()
    return worker


def run(kills: int, seed: int) -> tuple[int, int, int, int]:
    """Kills done, and in nano-USD: the provider's bill, what the ledger has spent, what it still holds."""
    chance = random.Random(seed)
    cap = COST * kills * 120  # enough that workers are still at work when the last one is killed
    with tempfile.TemporaryDirectory() as folder, ProviderProcess(policy) as provider:
        url = f"sqlite:///{Path(folder) / 'spend.db'}"
        open_ledger(url).close()
        workers = [start(url, provider.base_url, cap, number) for number in range(WORKERS)]
        done = 0
        while done < kills and any(worker.is_alive() for worker in workers):
            time.sleep(chance.uniform(0.0, 0.12))
            slot = chance.randrange(WORKERS)
            pid = workers[slot].pid
            if workers[slot].is_alive() and pid is not None:
                os.kill(pid, signal.SIGKILL)
                workers[slot].join()
                done += 1
            workers[slot] = start(url, provider.base_url, cap, done)
        for worker in workers:
            worker.join(timeout=60)
        ledger = open_ledger(url)
        ledger.expire(time.time() + TTL + 1)
        (balance,) = ledger.balances(ledger.accounts())
        bill = provider.bill().nanos
        ledger.close()
    print(
        f"{done:4} kills: bill {bill / cap:7.2%} of the cap, ledger {balance.spent / cap:7.2%} "
        f"(presumed {balance.presumed / cap:6.2%}), held after expiry {balance.held}"
    )
    return done, bill - cap, balance.spent - bill, balance.held


def main() -> int:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    results = [run(wanted // RUNS, seed) for seed in range(RUNS)]
    kills = sum(done for done, *_ in results)
    above = sum(over > 0 for _, over, _, _ in results)
    lost = sum(less < 0 for _, _, less, _ in results)
    held = sum(held for *_, held in results)
    print(f"{kills} kills: bill above the cap {above} times, spend lost {lost} times, held after expiry {held}")
    return int(bool(above or lost or held))


if __name__ == "__main__":
    sys.exit(main())
