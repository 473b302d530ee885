"""Downloads files that Python code names by address, by HTTP and HTTPS alone, within limits of size and time."""

import re
import time
from http.client import HTTPException, HTTPMessage, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from float_research.errors import UserError, printable, reason
from float_research.media import Limits

ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]+://")
"""The start of an address of any kind; a path would have one slash."""
HTTP = re.compile(r"(?i)https?://")
BLOCK = 2**16
AGENT = "float-research"


class HttpOnly(HTTPRedirectHandler):
    """Follows redirections, but only to HTTP and HTTPS."""

    def redirect_request(  # noqa: PLR0917 (the library's signature)
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        require_http(f"{shown(req.full_url)} redirects to {shown(newurl)}, which", newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def require_http(name: str, address: str) -> None:
    """Raises a UserError for an address of another kind. `name` begins the sentence."""
    if not HTTP.match(address):
        raise UserError(f"{name} is no http:// or https:// address; download it and give the file")


def shown(address: str) -> str:
    """Returns an address for messages, without a password or a query, which may hold a key."""
    return printable(re.sub(r"//[^/@]*@", "//", re.sub(r"[?#].*", "", address, flags=re.DOTALL)), 1000)


def download(what: str, address: str, file: Path, limits: Limits) -> None:
    """Downloads an address to `file`. Raises a UserError if that fails or exceeds the limits."""
    require_http(f"{what} {shown(address)}", address)
    name, remedy = f"{what} {shown(address)}", "check the address, or download it and give the file"
    end_s = time.monotonic() + limits.download_s
    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HttpOnly, HTTPErrorProcessor):
        opener.add_handler(handler())
    try:
        request = Request(address, headers={"User-Agent": AGENT})  # noqa: S310 (checked above)
        with opener.open(request, timeout=limits.download_s) as response, file.open("wb") as target:
            num_bytes = 0
            while block := response.read1(BLOCK):
                num_bytes += len(block)
                if num_bytes > limits.download_mb * 1e6:
                    raise UserError(f"{name} exceeds limits.download_mb={limits.download_mb:g}; give a smaller file")
                if time.monotonic() > end_s:
                    raise TimeoutError
                target.write(block)
            if response.length:  # what the server declared and did not send
                raise UserError(f"{name} is incomplete: {response.length:,} bytes are missing; try again")
    except HTTPError as error:
        error.close()
        raise UserError(f"{name} cannot be downloaded (the server answers {error.code}); {remedy}") from error
    except UserError:
        raise
    except (InvalidURL, UnicodeError) as error:
        raise UserError(f"{name} is not a valid address; {remedy}") from error
    except (OSError, HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            raise UserError(f"{name} takes longer than limits.download_s={limits.download_s:g}; {remedy}") from error
        why = reason(cause) if isinstance(cause, BaseException) else printable(cause)
        raise UserError(f"{name} cannot be downloaded ({why}); {remedy}") from error
