#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""`migctl report` of a migration that really happened, on both sides, in a browser."""

import os
import re

import migd_browser
import migd_ctl
import migdtest


def texts(browser, selector):
    return browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")


def open_report(t, side):
    path = os.path.join(t.dir, "report.html")
    status, _, err = migd_ctl.run(side.daemon.qmp_path, "-g", side.name, "report", "--output", path)
    t.check(status == 0, err)
    browser = t.cleanup.enter_context(migd_browser.Browser())
    browser.open(path)
    t.check(not browser.errors and browser.requests == ["file://" + path], f"{browser.errors} {browser.requests}")
    return browser


def test_both_sides(t):
    if not migd_browser.program():
        raise migdtest.Skip("there is no Chromium: install the package chromium")
    src, dst = t.pair(memory="128M")
    t.fill(src, length=64 << 20)
    src.set(max_bandwidth=64 << 20)
    info = t.migrate(src, dst)

    page = open_report(t, src)
    t.check(texts(page, "#outcome") == ["completed"], texts(page, "#outcome"))
    phases = [p.split(":")[0] for p in texts(page, ".phase title")]
    t.check(phases == ["setup", "active", "device", "completed"], phases)
    t.check(len(texts(page, ".pass")) == info["ram"]["dirty-sync-count"], f"{texts(page, '.pass title')}, {info['ram']}")
    t.check(texts(page, ".plot figcaption b")[:2] == ["Memory", "Speed"], texts(page, ".plot figcaption"))
    shown = re.search(r"Blackout: ([\d.]+) (ms|µs|s)", page.evaluate("document.body.innerText"))
    ms = float(shown[1]) * {"µs": 0.001, "ms": 1, "s": 1000}[shown[2]]
    # The page shows three digits.
    t.check(abs(ms - info["downtime"]) <= max(2, info["downtime"] / 200), f"the page says {shown[0]}, query-migrate {info['downtime']} ms")
    t.check(len(texts(page, "#blackout .part")) >= 5, texts(page, "#blackout .part title"))

    page = open_report(t, dst)
    t.check(texts(page, "#outcome") == ["completed"] and not texts(page, ".pass"), "the destination")
    t.check("received" in page.evaluate("document.body.innerText"), "the destination's numbers")


migdtest.main()
