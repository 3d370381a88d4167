#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""human-monitor-command: HMP's commands become QMP's; what they say, and what goes wrong, is text."""

import json
import re

import migdtest


def hmp(daemon, line, **arguments):
    text = daemon.qmp.command("human-monitor-command", {"command-line": line, **arguments})
    assert text == "" or text.endswith("\r\n"), f"{line}: not in lines: {text!r}"
    assert "\n" not in text.replace("\r\n", ""), f"{line}: an end of line without CR: {text!r}"
    return text.replace("\r\n", "\n")


def parameters(daemon, **scope):
    return daemon.qmp.command("query-migrate-parameters", scope)


def test_words_are_taken_apart(t):
    daemon = t.daemon("a")
    t.vmm(daemon, name="g")
    for line, text in (("", ""), ("  \t ", ""), ("info name", "g\n"), ("  info \t name ", "g\n"), ('"info" \'name\'', "g\n")):
        t.check(hmp(daemon, line) == text, f"{line!r}: {hmp(daemon, line)!r}")
    for line, words in (("nope", "no command 'nope'"), ("info nope", "'nope' is too much; see 'help info'"),
                        ("stop now", "'now' is too much"), ("migrate", "uri is missing"), ("migrate -x tcp:h:1", "no option -x"),
                        ('migrate "tcp:h:1', "not closed"), ('migrate "tcp:h:1"x', "space is missing"),
                        (r'migrate "\q"', "goes before"), ("set_vcpu_dirty_limit 1x", "whole number"),
                        ("set_vcpu_dirty_limit 99999999999999999999", "whole number"),
                        ("migrate_set_capability events perhaps", "on or off"), ("stop " + "x " * 100, "more than 64 words"),
                        ("x" * 5000, "more than 4096 bytes")):
        answer = hmp(daemon, line)
        t.check(answer.startswith("Error: ") and words in answer, f"{line[:40]!r}: {answer!r}")


def test_settings(t):
    daemon = t.daemon("a")
    t.vmm(daemon)
    for line, name, value in (("max-bandwidth 100", "max-bandwidth", 100 << 20),
                              ("max-bandwidth 1G", "max-bandwidth", 1 << 30),
                              ("max-bandwidth 512B", "max-bandwidth", 512),
                              ("avail-switchover-bandwidth 0.5", "avail-switchover-bandwidth", 1 << 19),
                              ("max-postcopy-bandwidth 100", "max-postcopy-bandwidth", 100),
                              ("max-postcopy-bandwidth 18446744073709551615", "max-postcopy-bandwidth", (1 << 64) - 1),
                              ("xbzrle-cache-size 8M", "xbzrle-cache-size", 8 << 20),
                              ("downtime-limit 250", "downtime-limit", 250),
                              ("cpu-throttle-tailslow on", "cpu-throttle-tailslow", True),
                              ("multifd-compression zstd", "multifd-compression", "zstd"),
                              ("tls-hostname host.example", "tls-hostname", "host.example"),
                              ("cpr-exec-command \"/bin/vmm -name 'a b' -x\"", "cpr-exec-command",
                               ["/bin/vmm", "-name", "a b", "-x"])):
        t.check(hmp(daemon, f"migrate_set_parameter {line}") == "", f"{line}: {hmp(daemon, 'migrate_set_parameter ' + line)}")
        t.check(parameters(daemon)[name] == value, f"{line}: it is {parameters(daemon)[name]}")
    # What is wrong is said in QMP's words, or those of what cannot be made into QMP.
    for line, words in (("nope 1", "Parameter 'nope' is unexpected"),
                        ("downtime-limit 9999999", "Parameter 'downtime_limit' expects"),
                        ("multifd-channels 300", "expects uint8_t"),
                        ("downtime-limit -1", "expects a number"), ("max-bandwidth 1X", "expects a number"),
                        ("max-bandwidth 16E", "expects a number"),
                        ("multifd-compression best", "does not accept value 'best'"),
                        ("cpu-throttle-tailslow maybe", "expects on or off"),
                        ("block-bitmap-mapping []", "can only be set by QMP")):
        answer = hmp(daemon, f"migrate_set_parameter {line}")
        t.check(answer.startswith("Error: ") and words in answer, f"{line}: {answer!r}")
    lines = hmp(daemon, "info migrate_parameters").splitlines()
    t.check("downtime-limit: 250 ms" in lines and "cpu-throttle-tailslow: on" in lines, f"the list: {lines}")
    t.check("cpr-exec-command: /bin/vmm -name a b -x" in lines, f"the list: {lines}")
    names = {line.split(":")[0] for line in lines}
    t.check(set(parameters(daemon)) - names == {f"multifd-{c}-level" for c in ("zlib", "zstd", "qatzip")}, f"names: {names}")

    t.check(hmp(daemon, "migrate_set_capability xbzrle on") == "", "a capability")
    t.check("xbzrle: on" in hmp(daemon, "info migrate_capabilities").splitlines(), "is on")
    t.check(hmp(daemon, "migrate_set_capability nope on").startswith("Error: "), "no such capability")


def test_what_there_is(t):
    daemon = t.daemon("a")
    t.vmm(daemon)
    version = daemon.qmp.command("query-version")
    t.check(version["package"] in hmp(daemon, "info version"), hmp(daemon, "info version"))
    t.check(hmp(daemon, "info uuid").strip() == daemon.qmp.command("query-uuid")["UUID"], "the UUID")
    t.check(hmp(daemon, "info migrate") == "There was no migration yet\n", hmp(daemon, "info migrate"))
    for line in ("savevm x", "loadvm x", "delvm x", "x_colo_lost_heartbeat"):
        t.check(hmp(daemon, line).startswith("Error: migd has no"), hmp(daemon, line))
    listed = hmp(daemon, "help").splitlines()
    for line in listed:
        usage = line.split(" -- ")[0]
        t.check(hmp(daemon, "help " + re.sub(r" \[.*| [A-Z].*", "", usage)).splitlines()[0].startswith(usage), line)
    t.check(len(listed) > 25 and not any("savevm" in line for line in listed), f"{len(listed)} commands")
    t.check(hmp(daemon, "help migrate").startswith("migrate [-d] [-r] URI -- "), hmp(daemon, "help migrate"))
    t.check(len(hmp(daemon, "help info").splitlines()) > 8, "help about all of info's")
    t.check(hmp(daemon, "info") in hmp(daemon, "help info"), "info alone")
    t.check(hmp(daemon, "help nope").startswith("Error: "), hmp(daemon, "help nope"))
    t.check("1 guest is attached" in hmp(daemon, "q"), "quit is refused as by QMP")
    t.check("No vCPU is limited" in hmp(daemon, "info vcpu_dirty_limit"), hmp(daemon, "info vcpu_dirty_limit"))
    t.check("dirty ring" in hmp(daemon, "set_vcpu_dirty_limit 10 0"), hmp(daemon, "set_vcpu_dirty_limit 10 0"))
    t.check(hmp(daemon, "cancel_vcpu_dirty_limit") == "", "nothing to cancel")
    t.check("only one" in hmp(daemon, "calc_dirty_rate -rb 1"), "two modes")


def test_guests_are_told_apart(t):
    daemon = t.daemon("a")
    t.vmm(daemon, name="one")
    t.vmm(daemon, name="two")
    # Some clients always say which vCPU.
    t.check(hmp(daemon, "info version", **{"cpu-index": 0}), "without a guest")
    t.check("one" in hmp(daemon, "info status") and hmp(daemon, "info status").startswith("Error: "), "which guest?")
    t.check(hmp(daemon, "info name", guest="two") == "two\n", "the one that was named")
    t.check(hmp(daemon, "migrate_set_parameter downtime-limit 77", guest="two") == "", "a parameter")
    t.check([parameters(daemon, guest=g)["downtime-limit"] for g in ("one", "two")] == [300, 77], "of one guest only")
    t.check(hmp(daemon, "info version", guest="two").strip(), "a command that knows no guests")
    t.check("'three' not found" in hmp(daemon, "stop", guest="three"), hmp(daemon, "stop", guest="three"))
    t.check(hmp(daemon, "info name", guest="one", **{"cpu-index": 0}) == "one\n", "the first vCPU")
    for index in (-1, 1):
        try:
            hmp(daemon, "info name", guest="one", **{"cpu-index": index})
        except migdtest.QmpError as e:
            t.check("cpu-index" in e.desc, e.desc)
        else:
            raise AssertionError(f"vCPU {index} is not there")


def test_a_guest_is_stopped_and_migrated(t):
    src, dst = t.pair()
    t.check(hmp(t.a, "stop") == "" and t.a.qmp.events[-1].name == "STOP", "stopped")
    t.check(hmp(t.a, "info status").startswith("Status: paused"), hmp(t.a, "info status"))
    t.check(hmp(t.a, "c") == "" and hmp(t.a, "info status") == "Status: running\n", "runs again")
    t.check(hmp(t.a, "migrate_continue pre-switchover").startswith("Error: "), "nothing to continue")
    for line in ("migrate_pause", "migrate_recover tcp:127.0.0.1:0", "migrate_start_postcopy", "system_wakeup"):
        t.check(hmp(t.a, line).startswith("Error: "), f"{line}: {hmp(t.a, line)}")
    t.check("Unknown" in hmp(t.a, "migrate nope:1") or "unknown" in hmp(t.a, "migrate nope:1"), hmp(t.a, "migrate nope:1"))
    t.check("allow-exec" in hmp(t.a, 'migrate -d "exec:cat >/dev/null"'), "commands stay what they are: privileged")

    t.check(hmp(t.b, "migrate_incoming tcp:127.0.0.1:0") == "", "listens")
    info = migdtest.wait_until(lambda: re.search(r"^  (tcp:127.0.0.1:\d+)$", hmp(t.b, "info migrate"), re.M), "says where")
    t.check("cannot wait" in hmp(t.a, f"migrate {info[1]}"), "without -d it says that it cannot wait")
    t.wait_end(src)
    t.wait_end(dst)
    text = hmp(t.a, "info migrate")
    t.check("Status: completed\n" in text and "RAM size (bytes): total=" in text, text)
    t.check(re.search(r"^Time \(ms\): total=\d+, setup=\d+, down=\d+$", text, re.M), text)
    t.check(len(hmp(t.a, "info migrate -a").splitlines()) > len(text.splitlines()), hmp(t.a, "info migrate -a"))
    t.assert_only_runs(dst, src)

    t.check(hmp(t.b, "calc_dirty_rate 1") == "", hmp(t.b, "info dirty_rate"))
    migdtest.wait_until(lambda: "Dirty rate: " in hmp(t.b, "info dirty_rate"), "the dirty rate")
    t.check("Status: measured\n" in hmp(t.b, "info dirty_rate"), hmp(t.b, "info dirty_rate"))
    answer = hmp(t.b, "announce_self eth0,eth1 x")
    t.check(answer == "" or "announce" in answer, f"announce_self: {json.dumps(answer)}")


migdtest.main()
