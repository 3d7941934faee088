"""A proxy with TLS and a path before an Ollama, and who signs its certificate."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOT_PASSED_ON = {"host", "transfer-encoding", "content-length", "connection"}


class Authority:
    """Signs certificates, and writes its own to `file`."""

    def __init__(self, folder: Path, called: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
        self._folder = folder
        self.file = folder / f"{called}.pem"
        unsigned = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.file.write_bytes(unsigned.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        return builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)

    def server(self, host: str) -> ssl.SSLContext:
        """Return what a server of this name proves itself with."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        also = x509.SubjectAlternativeName([x509.DNSName(host)])
        signed = self._builder(name, key).add_extension(also, False).sign(self._key, hashes.SHA256())
        both = self._folder / f"{host}-key.pem"
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        both.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*form))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        return context


@asynccontextmanager
async def proxied(ollama: str, port: int, host: str, prefix: str, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Pass on, as it comes, what is asked below the prefix by the right name; refuse the rest as such proxies do."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        if request.headers["host"] != host:
            return web.Response(status=421, text=f"{request.headers['host']} is not served here")
        if not request.path.startswith(f"{prefix}/"):
            return web.Response(status=404, text=f"{request.path} is not below {prefix}")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in NOT_PASSED_ON}
        url = ollama + request.path_qs.removeprefix(prefix)
        async with client.request(request.method, url, data=await request.read(), headers=headers) as answer:
            passed = {name: value for name, value in answer.headers.items() if name.lower() not in NOT_PASSED_ON}
            response = web.StreamResponse(status=answer.status, headers=passed)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
        return response

    async with aiohttp.ClientSession() as client:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        try:
            yield
        finally:
            await runner.cleanup()
