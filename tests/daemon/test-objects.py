#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Objects of the daemon: TLS credentials, rules and secrets. What is wrong with their files is said when they are added."""

import base64
import json
import os
import signal
import subprocess

import migd_certs
import migd_process
import migdtest
from migdtest import wait_until


class Objects:
    """A daemon, an authority, and directories of credentials."""

    def __init__(self, t, name="a"):
        self.t = t
        self.name = name
        self.daemon = t.daemon(name)
        self.ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
        self.n = 0

    def dir(self):
        self.n += 1
        return os.path.join(self.t.dir, f"creds{self.n}")

    def add(self, kind, id="o", **properties):
        arguments = {"qom-type": kind, "id": id, **{k.replace("_", "-"): v for k, v in properties.items()}}
        self.daemon.qmp.command("object-add", arguments)

    def delete(self, id="o"):
        self.daemon.qmp.command("object-del", {"id": id})

    def listed(self):
        return {o["id"]: o for o in self.daemon.qmp.command("query-objects")}

    def creds(self, id="o"):
        return {o["id"]: o for o in self.daemon.qmp.command("query-tls-credentials")}[id]

    def refused(self, *words, command="object-add", **arguments):
        before = self.listed()
        if command == "object-add":
            arguments = {"qom-type": arguments.pop("kind", "tls-creds-x509"), "id": "o", **arguments}
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        try:
            self.daemon.qmp.command(command, arguments)
        except migdtest.QmpError as e:
            for word in words:
                self.t.check(word in e.desc, f"{command} {arguments}: {e.desc!r} does not say {word!r}")
        else:
            raise AssertionError(f"{command} {arguments} was accepted")
        self.t.check(self.listed() == before, f"{arguments} left something behind: {self.listed()}")

    def restart(self):
        self.daemon.kill(signal.SIGTERM)
        self.daemon = self.t.daemon(self.name)


def test_names_and_kinds(t):
    o = Objects(t)
    for wrong in "", "1a", "-a", "a b", "a/b", "ä", "a" * 256, "a\n":
        o.refused("identifier", kind="secret", id=wrong, data="x")
    o.add("secret", "aZ0-._", data="x")
    o.refused("already", "aZ0-._", kind="secret", id="aZ0-._", data="x")
    o.refused("'qom-type' does not accept value 'tls-creds-none'", kind="tls-creds-none")
    o.refused("tls-creds-anon", "between", kind="tls-creds-anon", dir="/tmp", endpoint="server")
    o.refused("authz-pam", "PAM", kind="authz-pam", service="login")
    o.refused("'nonsense' is unexpected", kind="secret", data="x", nonsense=1)
    o.refused("there is no object 'none'", command="object-del", id="none")
    t.check(list(o.listed()) == ["aZ0-._"], f"{o.listed()}")
    o.delete("aZ0-._")
    t.check(o.listed() == {}, f"{o.listed()}")


def test_there_is_a_limit(t):
    o = Objects(t)
    for i in range(256):
        o.add("authz-simple", f"a{i}", identity="CN=x")
    o.refused("256 objects", kind="authz-simple", identity="CN=x")


def test_secrets(t):
    o = Objects(t)
    path = os.path.join(t.dir, "password")
    with open(path, "w") as f:
        f.write("pass")
    os.chmod(path, 0o640)
    o.refused("exactly one of 'data' and 'file'", kind="secret")
    o.refused("exactly one", kind="secret", data="x", file=path)
    o.refused("chmod 600", path, kind="secret", file=path)
    o.refused("is missing", kind="secret", file=path + "x")
    o.refused("absolute path", kind="secret", file="password")
    o.refused("no regular file", kind="secret", file=t.dir)
    o.refused("no base64", kind="secret", data="%%%%", format="base64")
    o.refused("'keyid' is not supported", kind="secret", data="x", keyid="k")
    o.refused("'iv' is not supported", kind="secret", data="x", iv="k")
    os.chmod(path, 0o600)
    o.add("secret", "file", file=path)
    o.add("secret", "base64", data=base64.b64encode(b"pass").decode(), format="base64")


def test_x509_is_loaded(t):
    o = Objects(t)
    d = o.dir()
    cert = o.ca.server(d, names=["IP:127.0.0.1", "DNS:host.example"], subject="/O=Ex\u00e4mple, Inc/CN=host1")
    numbered = o.ca.server(d, subject="/CN=host1", number=0, kind="rsa")
    o.add("tls-creds-x509", dir=d, endpoint="server", verify_peer=False)
    info = o.creds()
    t.check((info["qom-type"], info["endpoint"], info["verify-peer"], info["dir"], info["usernames"]) ==
            ("tls-creds-x509", "server", False, d, []), f"{info}")
    t.check("error" not in info, f"{info}")
    ca, own, second = info["certificates"]
    t.check((ca["role"], ca["subject"], ca["issuer"]) == ("authority", "CN=migd test authority", "CN=migd test authority"), f"{ca}")
    t.check((own["role"], own["subject"], own["issuer"]) == ("own", "O=Ex\u00e4mple\\, Inc,CN=host1", ca["subject"]), f"{own}")
    t.check(own["fingerprint"] == migd_certs.fingerprint(cert), f"{own}")
    t.check(second["fingerprint"] == migd_certs.fingerprint(numbered), f"{second}")
    t.check(own["not-before"] < own["not-after"] and own["not-after"].endswith("Z"), f"{own}")
    text = json.dumps(info)
    t.check("PRIVATE" not in text and "BEGIN" not in text, text)


def test_x509_clients_may_have_no_certificate(t):
    o = Objects(t)
    d = o.dir()
    o.ca.trust(d)
    o.add("tls-creds-x509", dir=d, endpoint="client")
    t.check([c["role"] for c in o.creds()["certificates"]] == ["authority"], f"{o.creds()}")
    t.check(o.creds()["endpoint"] == "client" and o.creds()["verify-peer"] is True, f"{o.creds()}")
    o.refused("server-cert.pem' is missing", dir=d, endpoint="server", id="s")


def test_x509_files_that_are_not_there(t):
    o = Objects(t)
    o.refused("Parameter 'dir' is missing")
    o.refused("absolute path", dir="creds")
    o.refused("ca-cert.pem' is missing", dir=os.path.join(t.dir, "nowhere"))
    for end in "server", "client":
        d = o.dir()
        o.ca.issue(d, end, "/CN=x")
        os.rename(os.path.join(d, f"{end}-key.pem"), os.path.join(d, "key"))
        o.refused(f"{end}-key.pem' is missing", f"{end}-cert.pem", dir=d, endpoint=end)
        os.rename(os.path.join(d, "key"), os.path.join(d, f"{end}-key.pem"))
        os.unlink(os.path.join(d, f"{end}-cert.pem"))
        o.refused(f"{end}-cert.pem' is missing", dir=d, endpoint=end)
    d = o.dir()
    o.ca.server(d)
    o.ca.server(d, number=3)
    os.unlink(os.path.join(d, "server-key-3.pem"))
    o.refused("server-key-3.pem' is missing", dir=d, endpoint="server")


def test_x509_files_that_are_no_good(t):
    o = Objects(t)

    def spoiled(name, text, *words, mode=None):
        d = o.dir()
        o.ca.server(d)
        path = os.path.join(d, name)
        if text is not None:
            with open(path, "w") as f:
                f.write(text)
        if mode is not None:
            os.chmod(path, mode)
        o.refused(path, *words, dir=d, endpoint="server")

    pem = open(o.ca.cert).read()
    spoiled("ca-cert.pem", "", "1 to 256 certificates in PEM")
    spoiled("ca-cert.pem", "nonsense", "certificates in PEM")
    spoiled("ca-cert.pem", pem[:200], "certificates in PEM")
    spoiled("ca-cert.pem", pem + pem[:200], "certificates in PEM")
    spoiled("ca-cert.pem", pem + "\0" + pem, "no PEM file")
    spoiled("ca-crl.pem", "nonsense", "no list of revoked certificates")
    spoiled("server-cert.pem", "nonsense", "certificates in PEM")
    spoiled("server-key.pem", "nonsense", "no private key in PEM")
    spoiled("server-key.pem", " " * (1024 * 1024 + 1), "at most 1048576")
    for mode in 0o640, 0o604, 0o660, 0o644:
        spoiled("server-key.pem", None, "chmod 600", f"{mode:04o}", mode=mode)
    d = o.dir()
    o.ca.server(d)
    os.unlink(os.path.join(d, "server-key.pem"))
    os.mkfifo(os.path.join(d, "server-key.pem"), 0o600)
    o.refused("no regular file", dir=d, endpoint="server")


def test_x509_certificates_that_do_not_hold(t):
    o = Objects(t)
    other = migd_certs.Authority(os.path.join(t.dir, "other"))

    def wrong(*words, end="server", trust=None, **issue):
        d = o.dir()
        o.ca.issue(d, end, "/CN=x", **issue)
        if trust:
            trust.trust(d)
        o.refused(*words, dir=d, endpoint=end)
        o.add("tls-creds-x509", "unchecked", dir=d, endpoint=end, sanity_check=False)
        o.delete("unchecked")

    for end in "server", "client":
        wrong("has expired at", "issue a new one", f"{end}-cert.pem", end=end, starts=-30, days=10)
        wrong("is not valid before", f"{end}-cert.pem", end=end, starts=10, days=10)
        wrong("CA:TRUE", "authority's", end=end, extra="basicConstraints=critical,CA:TRUE")
        wrong("lacks digitalSignature", end=end, usage="keyEncipherment")
        wrong("does not hold against the authorities", end=end, trust=other)
    wrong("lacks serverAuth", end="server", purpose="clientAuth")
    wrong("lacks clientAuth", end="client", purpose="serverAuth")
    for usage in "digitalSignature", "digitalSignature,keyEncipherment":
        d = o.dir()
        o.ca.server(d, usage=usage, purpose="serverAuth,clientAuth")
        o.add("tls-creds-x509", "good", dir=d, endpoint="server")
        o.delete("good")


def test_x509_authorities_that_are_none(t):
    o = Objects(t)

    def wrong(*words, **options):
        ca = migd_certs.Authority(os.path.join(t.dir, f"wrong{o.n}"), **options)
        d = o.dir()
        ca.trust(d)
        o.refused("ca-cert.pem", *words, dir=d, endpoint="client")
        o.add("tls-creds-x509", "unchecked", dir=d, endpoint="client", sanity_check=False)
        o.delete("unchecked")

    wrong("has expired", starts=-30, days=10)
    wrong("is not valid before", starts=10)
    wrong("CA:TRUE", extensions="basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyCertSign")
    wrong("lacks keyCertSign", extensions="basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign")


def test_x509_intermediate_and_revoked(t):
    o = Objects(t)
    between = migd_certs.Authority(os.path.join(t.dir, "between"), subject="/CN=between", parent=o.ca)
    d = o.dir()
    cert = between.server(d)
    o.ca.trust(d)
    o.refused("does not hold against the authorities", dir=d, endpoint="server")
    with open(cert, "a") as f:
        f.write(open(between.cert).read())
    o.add("tls-creds-x509", dir=d, endpoint="server")
    o.delete()
    d = o.dir()
    cert = o.ca.server(d)
    o.ca.revoke(d)
    o.add("tls-creds-x509", dir=d, endpoint="server")
    o.delete()
    o.ca.revoke(d, cert)
    o.refused("revoked", dir=d, endpoint="server")
    # The authority in between has no list.
    cert = between.server(d)
    with open(cert, "a") as f:
        f.write(open(between.cert).read())
    o.ca.trust(d)
    o.add("tls-creds-x509", dir=d, endpoint="server")


def test_x509_keys(t):
    o = Objects(t)
    d = o.dir()
    o.ca.server(d)
    migd_certs.new_key(os.path.join(d, "server-key.pem"))
    o.refused("is not the key of the certificate", dir=d, endpoint="server")
    o.refused("is not the key of the certificate", dir=d, endpoint="server", sanity_check=False)
    for kind in "ec", "rsa", "ed25519":
        d = o.dir()
        o.ca.server(d, kind=kind)
        o.add("tls-creds-x509", kind, dir=d, endpoint="server")
    d = o.dir()
    o.ca.server(d, password="pass w\u00f6rd")
    o.refused("is encrypted", "passwordid", dir=d, endpoint="server")
    o.refused("there is no secret 'pw'", dir=d, endpoint="server", passwordid="pw")
    o.add("secret", "pw", data="wrong")
    o.refused("password of the secret 'pw'", dir=d, endpoint="server", passwordid="pw")
    o.delete("pw")
    o.add("secret", "pw", data="pass w\u00f6rd")
    o.add("tls-creds-x509", dir=d, endpoint="server", passwordid="pw")
    o.refused("in use by object 'o'", command="object-del", id="pw")
    o.delete("o")
    o.delete("pw")


def test_psk(t):
    o = Objects(t)
    d = migd_certs.psk(o.dir(), {"other": "00" * 32, "qemu": "c0ffee" * 8})
    o.add("tls-creds-psk", "client", dir=d)
    o.add("tls-creds-psk", "other", dir=d, endpoint="client", username="other")
    o.add("tls-creds-psk", "server", dir=d, endpoint="server")
    t.check([o.creds(x)["usernames"] for x in ("client", "other", "server")] == [["qemu"], ["other"], ["other", "qemu"]],
            "whose keys are known")
    t.check("c0ffee" not in json.dumps(o.daemon.qmp.command("query-tls-credentials")), "a key is shown")
    psk = {"kind": "tls-creds-psk"}
    o.refused("no key of user 'nobody'", "username", dir=d, username="nobody", **psk)
    o.refused("'username' is a client's", dir=d, endpoint="server", username="qemu", **psk)
    o.refused("keys.psk' is missing", dir=t.dir, **psk)
    os.chmod(os.path.join(d, "keys.psk"), 0o644)
    o.refused("chmod 600", dir=d, **psk)
    for text, words in {"": "no key of user", "qemu": "line 1: there is no ':'", "qemu:": "even number of hex digits",
                        "# a comment\n\nqemu:abc\n": "line 3", "qemu:0g\n": "hex digits", ":00\n": "1 to 128 bytes",
                        "q" * 129 + ":00": "1 to 128 bytes", "qemu:" + "00" * 257: "2 to 512", "a:\0": "NUL"}.items():
        d = migd_certs.psk(o.dir(), {})
        with open(os.path.join(d, "keys.psk"), "w") as f:
            f.write(text)
        o.refused("keys.psk", words, dir=d, **psk)
    d = migd_certs.psk(o.dir(), {f"u{i}": "00" for i in range(1025)})
    o.refused("more than 1024 keys", dir=d, endpoint="server", **psk)


def test_priority(t):
    o = Objects(t)
    d = migd_certs.psk(o.dir(), {"qemu": "00" * 16})
    for good in "NORMAL", "NORMAL:-VERS-TLS1.2", "SECURE256:%SERVER_PRECEDENCE", "NONE:+VERS-TLS1.3:+CIPHER-ALL:+GROUP-ALL":
        o.add("tls-creds-psk", dir=d, priority=good)
        o.delete()
    o.refused("'priority'", "'+ARCFOUR-129'", "docs/tls.md", kind="tls-creds-psk", dir=d, priority="NORMAL:+ARCFOUR-129")


def test_authz(t):
    o = Objects(t)
    o.add("authz-simple", "simple", identity="O=Example,CN=host1")
    o.add("authz-list", "list", policy="deny", rules=[
        {"match": "CN=host1", "policy": "allow", "format": "exact"}, {"match": "CN=web*", "policy": "allow", "format": "glob"}])
    o.add("authz-list", "empty")
    path = os.path.join(t.dir, "rules.json")
    o.refused("is missing", kind="authz-listfile", filename=path)
    o.refused("absolute path", kind="authz-listfile", filename="rules.json")
    for text, word in {"": "line", "[]": "object", "{\"policy\": \"perhaps\"}": "perhaps", "{\"rules\": [{}]}": "match",
                       "{\"policy\": \"deny\",": "line", "{\"x\": 1}": "unexpected"}.items():
        with open(path, "w") as f:
            f.write(text)
        o.refused(path, word, kind="authz-listfile", filename=path)
    with open(path, "w") as f:
        json.dump({"policy": "deny", "rules": [{"match": "*", "policy": "allow", "format": "glob"}]}, f)
    o.add("authz-listfile", "file", filename=path)
    t.check({k: v["qom-type"] for k, v in o.listed().items()} == {
        "simple": "authz-simple", "list": "authz-list", "empty": "authz-list", "file": "authz-listfile"}, f"{o.listed()}")


def test_as_the_manual_says(t):
    """The commands of docs/tls.md make what is accepted at both ends."""
    o = Objects(t)
    d = o.dir()
    os.mkdir(d)
    with open(os.path.join(migd_process.SOURCE_DIR, "docs", "tls.md")) as f:
        blocks = f.read().split("```")[1::2]
    commands = [b.replace("NAME", "host.example").replace("ADDRESS", "127.0.0.1") for b in blocks if "openssl" in b]
    t.check(len(commands) == 3, f"{len(commands)} blocks of commands")
    done = subprocess.run(["bash", "-ec", "umask 077\n" + "".join(commands)], cwd=d, capture_output=True, text=True)
    t.check(done.returncode == 0, done.stderr)
    for end in "client", "server":
        o.add("tls-creds-x509", f"x509-{end}", dir=d, endpoint=end)
        t.check(o.creds(f"x509-{end}")["certificates"][1]["subject"] == "O=Example,CN=host.example", f"{o.creds(f'x509-{end}')}")
        o.add("tls-creds-psk", f"psk-{end}", dir=d, endpoint=end)


def test_files_are_replaced(t):
    """By inotify, at the next look, and at SIGHUP; what cannot be read leaves what was there."""
    o = Objects(t)
    d = o.dir()
    first = migd_certs.fingerprint(o.ca.server(d))
    o.add("tls-creds-x509", dir=d, endpoint="server")

    def own():
        return o.creds()["certificates"][-1]["fingerprint"]

    t.check(own() == first, "the certificate that was there")
    second = migd_certs.fingerprint(o.ca.server(d))
    wait_until(lambda: "was read again id='o'" in o.daemon.log_text(), "inotify tells")
    t.check(own() == second != first, "the certificate that is there")
    with open(os.path.join(d, "server-cert.pem"), "w") as f:
        f.write("nonsense")
    t.check(own() == second and "certificates in PEM" in o.creds()["error"], f"{o.creds()}")
    t.check("certificates in PEM" in o.listed()["o"]["error"], f"{o.listed()}")
    wait_until(lambda: "what was read before stays in use id='o'" in o.daemon.log_text(), "the log says so")
    third = migd_certs.fingerprint(o.ca.server(d))
    t.check(own() == third and "error" not in o.creds(), f"{o.creds()}")

    # Where inotify sees nothing: a link to another directory.
    away = o.dir()
    o.ca.server(away)
    linked = o.dir()
    os.mkdir(linked)
    for name in os.listdir(away):
        os.symlink(os.path.join(away, name), os.path.join(linked, name))
    o.add("tls-creds-x509", "linked", dir=linked, endpoint="server")
    o.ca.server(away)
    t.check("was read again id='linked'" not in o.daemon.log_text(), "inotify does not tell")
    o.daemon.signal(signal.SIGHUP)
    wait_until(lambda: "was read again id='linked'" in o.daemon.log_text(), "SIGHUP does")


def test_objects_outlive_the_daemon(t):
    """Definitions, not what is secret; files that are broken meanwhile do not keep it from starting."""
    o = Objects(t)
    d = o.dir()
    o.ca.server(d, password="pw")
    o.add("secret", "inline", data="pw")
    password = os.path.join(t.dir, "password")
    with open(password, "w") as f:
        f.write("pw")
    os.chmod(password, 0o600)
    o.add("secret", "file", file=password)
    o.add("tls-creds-x509", "a", dir=d, endpoint="server", passwordid="inline")
    o.add("tls-creds-x509", "b", dir=d, endpoint="server", passwordid="file")
    o.add("authz-simple", "who", identity="CN=x")
    stored = os.path.join(o.daemon.state_dir, "settings", "objects")
    t.check(os.stat(stored).st_mode & 0o777 == 0o600, "only migd may read it")
    t.check("pw" not in open(stored).read().replace('"passwordid"', ""), "no secret is in it")
    before = o.creds("b")
    o.restart()
    t.check(set(o.listed()) == {"file", "a", "b", "who"}, f"{o.listed()}")
    t.check(o.creds("b") == before, f"{o.creds('b')}")
    t.check("there is no secret 'inline'" in o.creds("a")["error"] and o.creds("a")["certificates"] == [], f"{o.creds('a')}")
    o.add("secret", "inline", data="pw")
    t.check("error" not in o.creds("a") and len(o.creds("a")["certificates"]) == 2, f"{o.creds('a')}")
    os.rename(d, d + ".away")
    o.restart()
    t.check("is missing" in o.creds("b")["error"], f"{o.creds('b')}")
    os.rename(d + ".away", d)
    t.check(o.creds("b") == before, f"{o.creds('b')}")
    for id in "b", "file", "a", "who":
        o.delete(id)
    o.restart()
    t.check(o.listed() == {}, f"{o.listed()}")
    with open(stored, "w") as f:
        f.write("{\"version\": 2}")
    o.restart()
    t.check(o.listed() == {} and "ignoring the objects" in o.daemon.log_text(), "what it cannot read is ignored")


migdtest.main()
