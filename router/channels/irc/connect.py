"""The socket of one IRC connection: TLS, bytes in and out, foreign errors turned into ours. Knows no IRC.

Reports everything that goes wrong as AccountTrouble with the reason in words; certificates that are not trusted too,
because they are renewed on the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from router.channels.base import AccountTrouble
from router.channels.irc.settings import IrcSettings

_READ = 16_384
#: Seconds for the other side to take what we write.
_WRITE_PATIENCE = 20.0
_CLOSE_PATIENCE = 1.0


class Link:
    """An open connection."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer

    def __repr__(self) -> str:
        return f"Link({self._name}, {'closed' if self.closed else 'open'})"

    @property
    def closed(self) -> bool:
        """Nothing can be written any more."""
        return self._writer.is_closing()

    async def read(self, timeout: float) -> bytes:
        """Bytes that came, or none after `timeout` seconds. Raises AccountTrouble when the link is gone."""
        try:
            async with asyncio.timeout(timeout):
                data = await self._reader.read(_READ)
        except TimeoutError:
            return b""
        except (OSError, ssl.SSLError) as error:
            raise AccountTrouble(f"link to {self._name} broke: {_words(error)}") from None
        if not data:
            raise AccountTrouble(f"{self._name} closed the link")
        return data

    def write(self, line: bytes) -> None:
        """Queue bytes; `flush` waits until they are on their way."""
        if not self.closed:
            self._writer.write(line)

    async def flush(self) -> None:
        """Wait until the kernel has what was written. Raises AccountTrouble if that does not happen."""
        try:
            async with asyncio.timeout(_WRITE_PATIENCE):
                await self._writer.drain()
        except TimeoutError:
            self.abort()
            raise AccountTrouble(f"{self._name} takes nothing more") from None
        except (OSError, ssl.SSLError) as error:
            raise AccountTrouble(f"link to {self._name} broke: {_words(error)}") from None

    def abort(self) -> None:
        """Cut the link now; a waiting `read` ends with AccountTrouble."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Let what is written go out for a moment, then cut."""
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(_CLOSE_PATIENCE):
                await self._writer.wait_closed()
        self.abort()


async def open_link(settings: IrcSettings, timeout: float) -> Link:
    """Connect. Raises AccountTrouble."""
    name = f"{settings.host}:{settings.port}"
    try:
        context = await asyncio.to_thread(_tls_context, settings) if settings.tls else None
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(settings.host, settings.port, ssl=context)
    except TimeoutError:
        raise AccountTrouble(f"{name} does not answer within {timeout:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise AccountTrouble(_distrust(settings, error)) from None
    except (OSError, ssl.SSLError, UnicodeError) as error:
        raise AccountTrouble(f"cannot connect to {name}: {_words(error)}") from None
    return Link(name, reader, writer)


def _tls_context(settings: IrcSettings) -> ssl.SSLContext:
    """In a thread, because loading certificates reads files. Verifies unless the operator said not to."""
    context = ssl.create_default_context(cafile=settings.tls_ca_file)
    if settings.tls_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.tls_cert_file:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    return context


def _distrust(settings: IrcSettings, error: ssl.SSLCertVerificationError) -> str:
    return (
        f"{settings.where}.tls: the certificate of {settings.host}:{settings.port} is not trusted "
        f"({error.verify_message}); name its authority in tlsCaFile"
    )


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error or type(error).__name__)
