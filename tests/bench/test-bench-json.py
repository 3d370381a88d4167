#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The benchmark's statistics, the form of its JSON, its table of rows, and what its command line refuses."""
import os
import subprocess
import sys
import unittest

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

from lib import postcopy, rows, scenarios, stats  # noqa: E402

ISSUE_ROWS = ("idle-tcp", "cpu-per-gib-tcp", "zero-tcp", "sparse-64g", "blackout-1m", "blackout-16m", "blackout-128m",
              "worker-rss", "daemon-rss", "multifd2-tcp", "tls1", "tls2", "cpu-per-gib-tls", "zstd-1g", "mapped-save",
              "mapped-load", "mapped-load-dio", "postcopy-blackout", "postcopy-blackout-pass1", "fault-p50", "fault-p99",
              "stall-full", "stall-125m", "postcopy-stream", "bgsnap-slowdown")


def row(name):
    return rows.select([name])[0]


class Statistics(unittest.TestCase):
    def test_median_ignores_what_is_missing(self):
        self.assertEqual(stats.median([3, None, 1, 2]), 2)
        self.assertEqual(stats.median([4, 1, 2, 3]), 2.5)
        self.assertIsNone(stats.median([None]))

    def test_spread_is_a_share_of_the_median(self):
        self.assertAlmostEqual(stats.spread([9, 10, 12]), 0.3)
        self.assertIsNone(stats.spread([9]))
        self.assertIsNone(stats.spread([0, 0]))

    def test_best_method_is_of_medians_not_of_lucky_runs(self):
        runs = [{"splice": 2.0, "pwrite": 9.0}, {"splice": 2.1, "pwrite": 1.0}, {"splice": 2.2, "pwrite": 1.1}]
        self.assertEqual(stats.best_method(runs, "higher"), ("splice", 2.1))
        self.assertEqual(stats.best_method(runs, "lower"), ("pwrite", 1.1))

    def test_best_method_where_one_failed_in_a_run(self):
        self.assertEqual(stats.best_method([{"a": 1.0}, {"a": 3.0, "b": 5.0}], "higher"), ("b", 5.0))
        self.assertEqual(stats.best_method([], "higher"), (None, None))


    def test_percentile(self):
        self.assertEqual(postcopy.percentile(list(range(1000)), 99), 990)
        self.assertEqual(postcopy.percentile([7], 99), 7)
        self.assertIsNone(postcopy.percentile([], 50))


class Json(unittest.TestCase):
    def test_row_has_exactly_the_promised_keys(self):
        made = stats.row_json(row("idle-tcp"), {"ours": [2.0, 2.2, 2.1], "peer": [1.0, 1.1], "limit": [{"splice": 2.4}]})
        self.assertEqual(tuple(made), stats.ROW_KEYS)
        self.assertEqual(made, {"name": "idle-tcp", "unit": "GB/s", "better": "higher", "ours": 2.1, "peer": 1.05,
                                "limit": 2.4, "runs": 3, "spread": 0.095})

    def test_what_was_not_measured_is_null(self):
        made = stats.row_json(row("daemon-rss"), {"ours": []})
        self.assertEqual([made[k] for k in ("ours", "peer", "limit", "runs", "spread")], [None, None, None, 0, None])

    def test_spread_is_of_ours_and_else_of_the_peer(self):
        self.assertEqual(stats.row_json(row("blackout-1m"), {"peer": [10, 20]})["spread"], 0.67)
        self.assertEqual(stats.row_json(row("blackout-1m"), {"ours": [10, 10], "peer": [10, 20]})["spread"], 0)

    def test_the_better_of_the_peers_methods_counts(self):
        samples = [{"stall_ms": plain, "others": 0.1, "is_noisy": False} for plain in (20, 40)]
        preempt = [{"stall_ms": stall, "others": 0.3, "is_noisy": stall > 9} for stall in (8, 10)]
        runs = [postcopy.by_method({"plain": a, "preempt": b}) for a, b in zip(samples, preempt)]
        self.assertEqual([run["others"] for run in runs], [0.3, 0.3])
        self.assertEqual([run["is_noisy"] for run in runs], [False, True])
        made = stats.row_json(row("stall-full"), {"peer": [run["stall_ms"] for run in runs]})
        self.assertEqual((made["peer"], made["runs"], made["spread"]), (9, 2, 0.22))


class Rows(unittest.TestCase):
    def test_the_promised_names_are_there(self):
        names = [r.name for r in rows.ROWS]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([n for n in ISSUE_ROWS if n not in names], [])

    def test_each_row_has_a_scenario_and_a_direction(self):
        for r in rows.ROWS:
            with self.subTest(r.name):
                self.assertIn(r.scenario, scenarios.SCENARIOS)
                self.assertIn(r.better, ("higher", "lower"))

    def test_each_row_is_documented(self):
        with open(os.path.join(ROOT, "docs", "benchmark.md"), encoding="utf-8") as f:
            text = f.read()
        self.assertEqual([r.name for r in rows.ROWS if f"`{r.name}`" not in text], [])

    def test_unknown_row_is_named(self):
        with self.assertRaisesRegex(ValueError, "no row 'idle-udp'; there are: idle-tcp, "):
            rows.select(["idle-udp"])

    def test_targets_follow_the_direction(self):
        higher = {"name": "idle-tcp", "better": "higher", "ours": 2.0, "peer": 1.0, "limit": 2.2, "spread": None}
        self.assertIs(stats.verdict(row("idle-tcp"), higher)[1], True)
        self.assertIs(stats.verdict(row("idle-tcp"), {**higher, "limit": 3.0})[1], False)
        lower = {"name": "cpu-per-gib-tcp", "better": "lower", "ours": 0.6, "peer": 1.0, "limit": None, "spread": None}
        self.assertIs(stats.verdict(row("cpu-per-gib-tcp"), lower)[1], True)
        self.assertIs(stats.verdict(row("cpu-per-gib-tcp"), {**lower, "ours": 0.7})[1], False)

    def test_a_target_without_its_number_is_neither_met_nor_missed(self):
        made = stats.row_json(row("blackout-16m"), {"ours": [3.0]})
        self.assertIsNone(stats.verdict(row("blackout-16m"), made)[1])
        self.assertIn(" - ", stats.table([row("blackout-16m")], [made])[1])


class CommandLine(unittest.TestCase):
    def test_unknown_row_is_refused(self):
        done = subprocess.run([os.path.join(ROOT, "bench", "run"), "--rows", "idle-udp"], stderr=subprocess.PIPE, text=True,
                              check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no row 'idle-udp'", done.stderr)


if __name__ == "__main__":
    unittest.main()
