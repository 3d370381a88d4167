#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""What is checked before, or instead of, a migration."""

from migd_qmp import QmpError
from migd_scenario import main, scenario


@scenario("bad_dest")
def bad_dest(s):
    s.start()
    s.go("tcp:127.0.0.1:0")
    s.check_source_runs_on(allow=("setup",))
    s.check(s.states(s.src) == ["setup", "failed"], f"the source went through {s.states(s.src)}")


CHANNEL = {"channel-type": "main",
           "addr": {"transport": "socket", "type": "inet", "host": "127.0.0.1", "port": "0"}}


@scenario("validate_uri/channels/both_set", arguments={"uri": "tcp:127.0.0.1:0", "channels": [CHANNEL]})
@scenario("validate_uri/channels/none_set", arguments={})
def validate_uri(s, arguments):
    s.start()
    try:
        s.src.command("migrate", arguments)
    except QmpError as e:
        s.check(e.cls == "GenericError" and e.desc, f"the error is {e}")
    else:
        raise AssertionError("migrate was accepted")
    s.check(s.src.migration() == {} and not s.states(s.src), f"nothing began: {s.src.migration()} {s.states(s.src)}")
    s.assert_untouched(s.src)


def uuid(digit):
    return ["--uuid", "-".join(digit * n for n in (8, 4, 4, 4, 12))]


def migrate_with_uuids(s, src, dst):
    s.start(src={"extra": src}, dst={"extra": dst})
    s.capabilities(s.src, "validate-uuid")
    s.set(s.src, downtime_limit=1000000)
    s.go(s.listen(s.unix_uri()))


@scenario("validate_uuid", src=uuid("1"), dst=uuid("1"))
@scenario("validate_uuid_src_not_set", src=[], dst=uuid("1"))
@scenario("validate_uuid_dst_not_set", src=uuid("1"), dst=[])
def validate_uuid(s, src, dst):
    migrate_with_uuids(s, src, dst)
    s.finish()


@scenario("validate_uuid_error", src=uuid("1"), dst=uuid("2"))
def validate_uuid_error(s, src, dst):
    migrate_with_uuids(s, src, dst)
    s.check_source_runs_on(allow=("setup", "active"))
    s.check("uuid" in s.src.migration()["error-desc"], f"the error names it: {s.src.migration()}")
    s.check_destination_quit()


main()
