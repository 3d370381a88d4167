# SPDX-License-Identifier: Apache-2.0
"""X.509 credentials for two ends on this host, in the directory form that QEMU and migd share."""
import os
import subprocess

OBJECT = "tls0"
# QEMU's default is AES-256: the benchmark compares programs, not ciphers.
PRIORITY = "NORMAL:-CIPHER-ALL:+AES-128-GCM"


def _openssl(directory, *args):
    subprocess.run(["openssl", *args], cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _issue(directory, name, purpose):
    with open(os.path.join(directory, "extensions"), "w", encoding="ascii") as f:
        f.write("basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
                f"extendedKeyUsage={purpose}\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl(directory, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}-key.pem",
             "-out", "request.pem")
    _openssl(directory, "x509", "-req", "-in", "request.pem", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem",
             "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}-cert.pem")


def make(directory):
    """A fresh authority, a certificate for each end."""
    os.makedirs(directory)
    _openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bench",
             "-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca-key.pem", "-out", "ca-cert.pem")
    _issue(directory, "server", "serverAuth")
    _issue(directory, "client", "clientAuth")
    for name in os.listdir(directory):
        os.chmod(os.path.join(directory, name), 0o600)


def objects(directory):
    """A pair.Spec.objects."""
    def of(side, is_peer):
        o = {"qom-type": "tls-creds-x509", "id": OBJECT, "dir": directory, "verify-peer": True,
             "endpoint": "client" if side == "source" else "server"}
        return {**o, "priority": PRIORITY} if is_peer else o
    return of
