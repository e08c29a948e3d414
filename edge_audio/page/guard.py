"""What every request passes before it is answered: by which name it came, who sends it, and whether
a page of somebody else made the browser send it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_audio.errors import EdgeAudioError
from edge_audio.page.answers import Refusal
from edge_audio.page.config import PageConfig, is_loopback
from edge_audio.page.context import Context
from edge_audio.page.requests import MAX_HEAD_BYTES, error_response
from edge_audio.page.sessions import Session
from edge_audio.support.address import parse_address
from edge_audio.support.text import one_line

API = "/api/v1/"
_FOR_ALL = {f"{API}login", f"{API}session", f"{API}openapi.json"}  # also without a session
_WITHOUT_TOKEN = {f"{API}login"}
_READING = ("GET", "HEAD")
_PERMISSIONS = "camera=(), microphone=(), geolocation=(), payment=(), usb=()"


class Guard:
    """Around the application. What it finds out of a session stands in `scope["session"]`."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app, self._context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = security_headers(self._context.config)
        has_begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                given = MutableHeaders(scope=message)
                for name, value in headers.items():
                    given.setdefault(name, value)
            await send(message)

        try:
            _strip_path(scope, self._context.config.path)
            self._check(scope)
            await self._app(scope, receive, send_guarded)
        except Refusal as refusal:
            await error_response(refusal)(scope, receive, send_guarded)
        except HTTPException as error:
            text = f"there is no such thing: see {API}openapi.json"
            await error_response(Refusal(error.status_code, text))(scope, receive, send_guarded)
        except EdgeAudioError as error:
            await error_response(Refusal(503, str(error)))(scope, receive, send_guarded)
        except Exception as error:
            text = f"unexpected {type(error).__name__}: {one_line(str(error), 200)}"
            self._context.remarks.append(text)
            if has_begun:
                raise
            await error_response(Refusal(500, text))(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> None:
        """Raises Refusal."""
        context, headers = self._context, Headers(scope=scope)
        check_head(scope)
        check_host(context.config, context.password is not None, headers.get("host", ""))
        scope["session"] = session = session_of(context, headers)
        path = scope["path"]
        if not path.startswith(API):
            return
        if context.password is not None and session is None and path not in _FOR_ALL:
            raise Refusal(401, "log in first")
        if scope["method"] in _READING:
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refusal(403, "another page sent this")
        if path not in _WITHOUT_TOKEN:
            expected = csrf_token_of(context, session)
            if not hmac.compare_digest(headers.get("x-csrf-token", "").encode(), expected.encode()):
                raise Refusal(403, "give X-CSRF-Token as GET status has it")


def security_headers(config: PageConfig) -> dict[str, str]:
    """For all responses: nothing is loaded from elsewhere, and no script stands in a page."""
    ancestors = " ".join(("'self'", *config.frames)) if config.frames else "'none'"
    own = ("script-src", "style-src", "connect-src", "font-src", "manifest-src", "worker-src")
    policy = [
        "default-src 'none'",
        *(f"{kind} 'self'" for kind in own),
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'self'",
        f"frame-ancestors {ancestors}",
    ]
    return {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": _PERMISSIONS,
        "cache-control": "no-store",
        **({} if config.frames else {"x-frame-options": "DENY"}),
    }


def check_head(scope: Scope) -> None:
    """What comes at once may be larger than what the parser waits for. Raises Refusal."""
    sizes = (len(name) + len(value) for name, value in scope["headers"])
    if len(scope["raw_path"]) + len(scope["query_string"]) + sum(sizes) > MAX_HEAD_BYTES:
        raise Refusal(431, f"the head of a request has at most {MAX_HEAD_BYTES} bytes")


def check_host(config: PageConfig, has_password: bool, header: str) -> None:
    """A page of a stranger may give its own name the address of this machine (DNS rebinding), so
    that browsers take it for this one. Where a password is asked for it has no session there.
    Raises Refusal."""
    if has_password and not config.hosts:
        return
    host = ""
    with suppress(ValueError):
        host = parse_address(header)[0].lower()
    allowed = {name.lower() for name in (config.host, config.name, *config.hosts)}
    if host not in allowed and not (host and is_loopback(host)):
        raise Refusal(421, "this page has another name: add it to hosts under [page]")


def cookie_name(config: PageConfig) -> str:
    """Browsers tell pages of one host apart by their port, but not their cookies."""
    return f"edge_audio_{config.port}"


def token_of(config: PageConfig, headers: Mapping[str, str]) -> str:
    """What the browser has for its session; "" if nothing."""
    try:
        cookies = SimpleCookie(headers.get("cookie", "")[:4096])
    except CookieError:
        return ""
    morsel = cookies.get(cookie_name(config))
    return "" if morsel is None else morsel.value


def session_of(context: Context, headers: Mapping[str, str]) -> Session | None:
    """None where there is none, or none is needed."""
    if context.password is None:
        return None
    return context.sessions.find(token_of(context.config, headers))


def csrf_token_of(context: Context, session: Session | None) -> str:
    """What this browser has to say where it changes something."""
    return context.csrf_token if session is None else session.csrf_token


def session_in(request: Request) -> Session | None:
    """As the guard found it."""
    session: Session | None = request.scope["session"]
    return session


def _strip_path(scope: Scope, prefix: str) -> None:
    """A proxy may leave the path below which it shows the page, or take it away."""
    path = scope["path"]
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        scope["path"] = path[len(prefix) :] or "/"
        scope["is_without_slash"] = path == prefix
