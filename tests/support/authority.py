"""An authority of the tests' own, and the certificates it signs, by openssl."""

import subprocess


class Authority:
    """Its certificate is `ca`, alone in its directory: clients take every `*.crt` there."""

    def __init__(self, directory):
        self.directory = directory
        self.trusted = directory / "trusted"
        self.trusted.mkdir()
        self.ca, self.ca_key = self.trusted / "ca.crt", directory / "ca.key"
        self._new("-x509", "-subj", "/CN=Drift tests", "-days", "2", "-keyout", self.ca_key, "-out", self.ca)

    def server(self, address, *hosts, days=2):
        """A certificate for a server at that address, and of these names, and its key. -1 day: one that has expired."""
        cert, key, asked, names = (self.directory / f"server.{part}" for part in ("crt", "key", "csr", "ext"))
        self._new("-subj", "/CN=registry", "-keyout", key, "-out", asked)
        subjects = ",".join([f"IP:{address}", *(f"DNS:{host}" for host in hosts)])
        names.write_text(f"subjectAltName={subjects}\nextendedKeyUsage=serverAuth\n")
        signed = ["x509", "-req", "-in", asked, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", days]
        self._openssl(*signed, "-extfile", names, "-out", cert)
        return cert, key

    def _new(self, *args):
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *args)

    def _openssl(self, *args):
        done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
