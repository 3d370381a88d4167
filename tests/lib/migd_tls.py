# SPDX-License-Identifier: Apache-2.0
"""TLS credentials on both sides of a test's migration.

    creds = migd_tls.x509(t, src, dst, names=["IP:127.0.0.1"])
    t.migrate(src, dst)

Objects are called `tls0`, which both sides' parameter tls-creds names then.
"""

import os

import migd_certs

ID = "tls0"
KEYS = "c0ffee00" * 8, "deadbeef" * 8
CLIENT = "/O=migd tests/CN=client", "O=migd tests,CN=client"  # as openssl wants it, and as it is compared


def add(vmm, kind, id=ID, **properties):
    """object-add at a Vmm's daemon."""
    vmm.daemon.qmp.command("object-add", {"qom-type": kind, "id": id, **{k.replace("_", "-"): v for k, v in properties.items()}})


def use(*vmms, **parameters):
    for vmm in vmms:
        vmm.set(tls_creds=ID, **parameters)


def psk(t, src, dst, match=True):
    """Both know the same key of `qemu`, or different ones."""
    directories = [migd_certs.psk(os.path.join(t.dir, f"psk-{side}"), {"qemu": key})
                   for side, key in (("client", KEYS[0]), ("server", KEYS[0 if match else 1]))]
    add(src, "tls-creds-psk", dir=directories[0], endpoint="client", username="qemu")
    add(dst, "tls-creds-psk", dir=directories[1], endpoint="server")
    use(src, dst)
    return directories


class X509:
    """An authority, and each side's directory."""

    def __init__(self, t, src, dst):
        self.ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
        self.dirs = {src: os.path.join(t.dir, "x509-client"), dst: os.path.join(t.dir, "x509-server")}
        self.src, self.dst = src, dst

    def issue_server(self, names, **options):
        return self.ca.server(self.dirs[self.dst], names, **options)

    def issue_client(self, subject=CLIENT[0], **options):
        return self.ca.client(self.dirs[self.src], subject, **options)


def x509(t, src, dst, names, client=True, verify_client=True, hostname=None, subject=CLIENT[0], authz=None, **options):
    """The server's certificate is for `names`; the client has one of `subject`, unless `client` is false. `authz`: an
    object's properties, who may connect."""
    x = X509(t, src, dst)
    x.issue_server(names, **options)
    if client:
        x.issue_client(subject, **options)
    else:
        x.ca.trust(x.dirs[src])
    add(src, "tls-creds-x509", dir=x.dirs[src], endpoint="client", sanity_check=True, verify_peer=True)
    add(dst, "tls-creds-x509", dir=x.dirs[dst], endpoint="server", sanity_check=True, verify_peer=verify_client)
    if authz:
        add(dst, id="who", **authz)
        use(dst, tls_authz="who")
    use(src, dst)
    if hostname:
        use(src, tls_hostname=hostname)
    return x
