#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""`migctl report`: the page as a real browser shows it, and the text."""

import json
import os

import migd_browser
import migd_ctl
import migd_fakeqmp
import migdtest

S = 1000000
HOSTILE = "web1</script><script>document.title = 'taken over'</script><img src=x onerror=alert(1)>"
ID = "0123456789abcdef" * 2


def a_pass(number, at, duration, pages):
    return {"pass": number, "at": at, "duration": duration, "dirtied-pages": pages, "normal-pages": pages, "zero-pages": 0,
            "bytes": pages * 4096, "dirty-pages-rate": 1000 * number, "bandwidth": pages * 4096 * S // duration, "throttle": 0}


def a_sample(n):
    return {"at": n * 100000, "transferred": n << 24, "remaining": (40 - n) << 24, "bandwidth": 160 << 20,
            "dirty-pages-rate": 1000, "throttle": 20 if n > 20 else 0, "faults": 0}


def record(**changes):
    return {"id": ID, "guest": "web1", "uuid": "0" * 8, "direction": "outgoing", "uri": "tcp:b.example:4444", "started": 1795365392753693,
            "duration": 4 * S, "status": "completed", "transferred": 40 << 24, "downtime": 25800, "version": "0.1.0", "host": "a",
            "peer": "192.0.2.7:4444", "tls": True, "mode": "normal", "strategy": "precopy", "priority": 0, "capabilities": ["events"],
            "parameters": {"downtime-limit": 300}, "vcpus": 2, "memory": 512 << 20, "queued": 0,
            "phases": [{"status": "setup", "at": 0}, {"status": "active", "at": 12000}, {"status": "device", "at": 3970000},
                       {"status": "completed", "at": 3996000}],
            "passes": [a_pass(1, 12000, 3 * S, 131072), a_pass(2, 3012000, 900000, 20000)],
            "samples": [a_sample(n) for n in range(40)], "stalls": [{"at": 1900000, "duration": 260000}],
            "events": [{"at": 500000, "kind": "command", "text": "migrate-set-parameters"}],
            "blackout": {"at": 3970000, "total": 25800, "pause": 300, "save": 900, "sync": 1500, "ram": 14000, "transfer": 4000,
                         "load": 3000, "commit": 1200, "resume": 900}, **changes}


def serve(t, answer):
    fake = migd_fakeqmp.FakeQmp(os.path.join(t.dir, f"qmp{t.count('qmp')}"), {"query-migration-record": answer})
    t.cleanup.callback(fake.close)
    return fake


def page(t, answer):
    """The report of that record, in a browser."""
    path = os.path.join(t.dir, "report.html")
    status, out, err = migd_ctl.run(serve(t, answer).path, "report", "0123", "--output", path)
    t.check(status == 0 and out.strip() == path, f"status {status}, {out!r}, {err!r}")
    if not migd_browser.program():
        raise migdtest.Skip("there is no Chromium: install the package chromium")
    browser = t.cleanup.enter_context(migd_browser.Browser())
    browser.open(path)
    t.check(not browser.errors, f"the page complains: {browser.errors}")
    t.check(browser.requests == ["file://" + path], f"the page asks for more than itself: {browser.requests}")
    return browser


def texts(browser, selector):
    return browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")


def test_page(t):
    b = page(t, record())
    t.check(b.evaluate("document.querySelector('h1').firstChild.textContent") == "Migration of web1", texts(b, "h1"))
    t.check(texts(b, "#outcome") == ["completed"], texts(b, "#outcome"))
    t.check([p.split(":")[0] for p in texts(b, ".phase title")] == ["setup", "active", "device", "completed"], texts(b, ".phase title"))
    t.check(len(texts(b, ".pass")) == 2 and len(texts(b, ".stall")) == 1 and len(texts(b, ".event")) == 1, "marks are missing")
    t.check([c for c in texts(b, ".plot figcaption b")] == ["Memory", "Speed", "Throttling of the vCPUs"], texts(b, ".plot figcaption"))
    t.check(len(texts(b, "#blackout .part")) == 8, texts(b, "#blackout .part"))
    for text in "25.8 ms", "under TLS", "512 MiB", "640 MiB":
        t.check(text in b.evaluate("document.body.innerText"), f"{text!r} is missing")


def test_plots_are_where_the_numbers_are(t):
    b = page(t, record())
    box = "(e => { const b = document.querySelector(e).getBBox(); return [b.x, b.y, b.width, b.height]; })"
    x, _, width, height = b.evaluate(box + "('.plot .series')")
    t.check(abs(x - 70) < 1 and 700 < width < 820 and height > 50, f"the first line is at {x}, {width} wide, {height} high")
    active = b.evaluate(box + "('.phase:nth-of-type(2) rect')")
    t.check(active[2] > 0.95 * 820, f"the phase `active` is {active[2]} wide")


def test_pointer_reads_all_plots(t):
    b = page(t, record())
    b.point_at(".plot svg", 0.5)
    said = texts(b, ".plot figcaption")
    t.check("remaining: 320 MiB" in said[0] and "bandwidth: 168 MB/s" in said[1], f"at the middle, 2 s: {said}")
    b.point_at("h1")
    t.check("remaining:" not in texts(b, ".plot figcaption")[0], "the pointer has left")


def test_hostile_texts_stay_texts(t):
    b = page(t, record(guest=HOSTILE, status="failed", **{"error-desc": HOSTILE}, events=[{"at": 1, "kind": "worker", "text": HOSTILE}]))
    t.check(b.evaluate("document.title") == f"Migration of {HOSTILE}: failed", b.evaluate("document.title"))
    t.check(texts(b, "#error") == [HOSTILE] and b.evaluate("document.images.length") == 0, "markup was taken for markup")


def test_short_and_empty_migrations(t):
    b = page(t, record(duration=3000, samples=[], passes=[], events=[], stalls=[], status="cancelled",
                       phases=[{"status": "setup", "at": 0}, {"status": "cancelled", "at": 3000}], transferred=0))
    t.check("nothing to plot" in b.evaluate("document.body.innerText") or "something to plot" in b.evaluate("document.body.innerText"),
            b.evaluate("document.body.innerText"))
    one = record()
    del one["blackout"], one["downtime"]
    b = page(t, {**one, "samples": []})
    t.check(texts(b, ".plot figcaption b") == ["Speed"], "without samples the passes are what is known of the speed")


def test_text(t):
    fake = serve(t, record(guest="web1\x1b[31m"))
    status, out, err = migd_ctl.run(fake.path, "-g", "web1", "report", "--text")
    t.check(status == 0 and not err, err)
    t.check(fake.sent("query-migration-record") == [{"guest": "web1"}], fake.requests)
    for text in "web1?[31m", ID, "completed", "25.80 ms", "640.0 MiB", "Passes", "131072", "command: migrate-set-parameters", "ram", "#":
        t.check(text in out, f"{text!r} is missing in {out}")
    t.check("\x1b" not in out, "control characters")


def test_json_and_standard_output(t):
    fake = serve(t, [record()] * 2)
    status, out, _ = migd_ctl.run(fake.path, "--json", "report", "0123")
    t.check(status == 0 and json.loads(out) == record(), out)
    status, out, _ = migd_ctl.run(fake.path, "report", "--output", "-")
    t.check(status == 0 and out.startswith("<!DOCTYPE html>") and "@RECORD@" not in out, out[:200])


def test_unwritable_file(t):
    fake = serve(t, record())
    status, _, err = migd_ctl.run(fake.path, "report", "--output", os.path.join(t.dir, "no", "such"))
    t.check(status == 1 and "cannot write" in err and "No such file" in err, err)
    status, _, err = migd_ctl.run(fake.path, "report", "--output", "/dev/full")
    t.check(status == 1 and "/dev/full" in err, f"{status} {err}")


migdtest.main()
