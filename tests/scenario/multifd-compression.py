#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Pages compressed on parallel channels."""

from migd_scenario import main, scenario


@scenario("multifd/tcp/plain/zlib", codec="zlib")
@scenario("multifd/tcp/plain/zstd", codec="zstd")
@scenario("multifd+postcopy/tcp/plain/zstd", codec="zstd", postcopy=True)
def multifd_tcp_plain(s, codec, postcopy=False):
    """Nothing switches to post-copy."""
    s.start()
    for side in s.src, s.dst:
        s.capabilities(side, "multifd", *["postcopy-ram"] * postcopy)
        s.set(side, multifd_channels=4)
        s.set(side, **{f"multifd_{codec}_level": 2})
        s.set(side, multifd_compression=codec)
    s.precopy("tcp:127.0.0.1:0", live=False)
    ram = s.src.migration()["ram"]
    # The guest's pages differ in a byte or two from zeros.
    s.check(0 < ram["multifd-bytes"] < ram["normal-bytes"] / 20, f"pages were compressed: {ram}")


main()
