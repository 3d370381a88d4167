# SPDX-License-Identifier: Apache-2.0
"""Directories with TLS credentials, made with the program `openssl`, as QEMU and migd name the files.

    ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
    ca.server(directory, names=["IP:127.0.0.1"])
    ca.client(directory, subject="/CN=host1")
    migd_certs.psk(directory, {"qemu": "00112233"})
"""

import datetime
import os
import shutil
import subprocess
import tempfile

ENDS = {"server": "serverAuth", "client": "clientAuth"}

CONFIG = """
[ca]
default_ca = own
[own]
database = {base}/index
new_certs_dir = {base}
certificate = {base}/ca-cert.pem
private_key = {base}/ca-key.pem
rand_serial = yes
default_md = sha256
default_crl_days = 30
policy = any
copy_extensions = none
unique_subject = no
[any]
commonName = optional
organizationName = optional
[req]
distinguished_name = name
prompt = no
[name]
[extensions]
{extensions}
"""


def openssl(*args):
    """Run it; what it says on standard output."""
    done = subprocess.run(["openssl", *args], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"openssl {' '.join(args)}: {done.stderr}")
    return done.stdout


def stamp(days):
    """Now and so many days, as `openssl ca` wants to be told."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return at.strftime("%Y%m%d%H%M%SZ")


def new_key(path, kind="ec", password=None):
    """A private key that only its owner may read."""
    option = {"ec": "ec_paramgen_curve:P-256", "rsa": "rsa_keygen_bits:2048", "ed25519": None}[kind]
    encrypt = ["-aes-256-cbc", "-pass", f"pass:{password}"] if password else []
    openssl("genpkey", "-algorithm", kind.upper() if kind != "ed25519" else "ED25519", *(["-pkeyopt", option] if option else []),
            *encrypt, "-out", path)
    os.chmod(path, 0o600)


class Authority:
    """A certificate authority of a test's own."""

    def __init__(self, base, subject="/CN=migd test authority", extensions="basicConstraints=critical,CA:TRUE\n"
                 "keyUsage=critical,keyCertSign,cRLSign", starts=-1, days=365, parent=None):
        os.makedirs(base, exist_ok=True)
        self.base = base
        self.cert = os.path.join(base, "ca-cert.pem")
        self.key = os.path.join(base, "ca-key.pem")
        open(os.path.join(base, "index"), "w").close()
        new_key(self.key)
        (parent or self).sign(self.cert, self.key, subject, extensions, starts, days, self_signed=parent is None)

    def sign(self, cert, key, subject, extensions, starts, days, self_signed=False, password=None):
        """A certificate for KEY, valid from `starts` on, for so many days."""
        config = tempfile.NamedTemporaryFile("w", dir=self.base, suffix=".cnf", delete=False)
        with config:
            config.write(CONFIG.format(base=self.base, extensions=extensions))
        request = config.name + ".req"
        pass_in = ["-passin", f"pass:{password}"] if password else []
        openssl("req", "-new", "-config", config.name, "-key", key, *pass_in, "-subj", subject, "-utf8", "-out", request)
        openssl("ca", "-batch", "-notext", "-preserveDN", "-config", config.name, "-in", request, "-out", cert, "-extensions", "extensions",
                "-startdate", stamp(starts), "-enddate", stamp(starts + days), "-utf8",
                *(["-selfsign", "-keyfile", key] if self_signed else []))

    def issue(self, directory, end, subject, names=(), number=None, kind="ec", starts=-1, days=365, usage=None,
              purpose=None, extra="basicConstraints=critical,CA:FALSE", password=None):
        """END-cert.pem and END-key.pem in `directory`, with this authority's ca-cert.pem."""
        os.makedirs(directory, exist_ok=True)
        part = "" if number is None else f"-{number}"
        cert, key = (os.path.join(directory, f"{end}-{what}{part}.pem") for what in ("cert", "key"))
        new_key(key + ".new", kind, password)
        extensions = [extra, f"keyUsage=critical,{usage or 'digitalSignature,keyEncipherment'}",
                      f"extendedKeyUsage={purpose or ENDS[end]}"]
        if names:
            extensions.append("subjectAltName=" + ",".join(names))
        self.sign(cert + ".new", key + ".new", subject, "\n".join(extensions), starts, days, password=password)
        os.replace(key + ".new", key)
        os.replace(cert + ".new", cert)
        self.trust(directory)
        return cert

    def server(self, directory, names=(), subject="/CN=server", **options):
        return self.issue(directory, "server", subject, names, **options)

    def client(self, directory, subject="/CN=client", **options):
        return self.issue(directory, "client", subject, **options)

    def trust(self, directory):
        """This authority's certificate as the one to trust."""
        os.makedirs(directory, exist_ok=True)
        shutil.copy(self.cert, os.path.join(directory, "ca-cert.pem"))

    def revoke(self, directory, *certs):
        """ca-crl.pem: these certificates hold no more."""
        config = os.path.join(self.base, "crl.cnf")
        with open(config, "w") as f:
            f.write(CONFIG.format(base=self.base, extensions=""))
        for cert in certs:
            openssl("ca", "-config", config, "-revoke", cert)
        openssl("ca", "-config", config, "-gencrl", "-out", os.path.join(directory, "ca-crl.pem"))


def psk(directory, keys):
    """keys.psk of {user: hex digits}."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "keys.psk")
    with open(path, "w") as f:
        f.writelines(f"{user}:{key}\n" for user, key in keys.items())
    os.chmod(path, 0o600)
    return directory


def fingerprint(cert):
    """SHA-256 of a certificate, lower-case hex digits."""
    return openssl("x509", "-in", cert, "-noout", "-fingerprint", "-sha256").split("=")[1].strip().replace(":", "").lower()
