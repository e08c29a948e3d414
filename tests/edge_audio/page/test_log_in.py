"""Who may see the page and change something: passwords, sessions, tokens, names of hosts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from edge_audio.errors import UsageError
from edge_audio.page.answers import Login, Refusal
from edge_audio.page.config import PASSWORD_VARIABLE, PageConfig
from edge_audio.page.destination import PageDestination
from edge_audio.page.guard import check_host
from edge_audio.page.password import PasswordHash
from edge_audio.page.routes import CALLS
from edge_audio.page.sessions import SESSION_S, AttemptLimit, Sessions
from tests.support.command_line import error_line, run
from tests.support.open_page import PASSWORD, Browser, Events, OpenPage, open_page, password_file

OPEN_CALLS = {("GET", "session"), ("POST", "login")}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[OpenPage]:
    with open_page(password_file=password_file(tmp_path)) as opened:
        yield opened


# Passwords


def test_a_hash_fits_its_password_alone_and_does_not_show_it() -> None:
    made = PasswordHash.of(PASSWORD)
    again = PasswordHash.parse(f" {made}\n")
    assert again == made
    assert again.fits(PASSWORD)
    assert not again.fits(f"{PASSWORD}!")
    assert not again.fits("\udcff" * 9)
    assert PASSWORD not in f"{made}{made!r}"
    assert str(PasswordHash.of(PASSWORD)) != str(made)  # salted


@pytest.mark.parametrize(
    "text",
    [
        "",
        PASSWORD,
        "scrypt$1048576$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAA=",  # 1 GiB
        "scrypt$16383$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$16384$8$9$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAA",  # a hash that many fit
        "scrypt$16384$8$1$=AAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
)
def test_what_is_no_hash_of_ours_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"no hash|costs|cut short"):
        PasswordHash.parse(text)


def test_the_command_makes_a_hash_for_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "password"
    run("password", "--out", path, stdin=f"{PASSWORD}\n".encode())
    assert path.stat().st_mode & 0o777 == 0o600
    read = PageConfig(host="0.0.0.0", password_file=str(path)).read_password()
    assert read is not None
    assert read.fits(PASSWORD)
    assert "8 to 1024" in error_line(run("password", stdin=b"short\n", ok=False), 2)


def test_beyond_this_machine_there_is_no_page_without_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    for open_to_others in ({"host": "0.0.0.0"}, {"host": "::"}, {"hosts": ("sounds.local",)}):
        with pytest.raises(ValueError, match="needs a password"):
            PageConfig(**open_to_others)
    for own in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert PageConfig(host=own).read_password() is None
    monkeypatch.setenv(PASSWORD_VARIABLE, "no hash")
    with pytest.raises(UsageError, match=f"{PASSWORD_VARIABLE}: it is no hash"):
        PageConfig(host="0.0.0.0").read_password()


def test_a_password_that_is_missing_is_found_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("plain text\n")
    (tmp_path / "password").chmod(0o600)
    for name, text in {"password": "no hash", "absent": "cannot read"}.items():
        config = PageConfig(password_file=str(tmp_path / name))
        for opened in (PageDestination, lambda config: PageDestination.check(config, ())):
            with pytest.raises(UsageError, match=text):
                opened(config)


# Sessions


def test_without_a_session_no_call_tells_anything(guarded: OpenPage) -> None:
    for call in CALLS:
        path = call.path.replace("{id}", "1").replace("{label:path}", "Dog")
        body: object = None if call.method == "GET" else {}
        answer = guarded.browser.ask(call.method, path, body)
        if (call.method, call.path) not in OPEN_CALLS:
            assert (answer.status, answer.error) == (401, "log in first"), path
    assert guarded.browser.get("session").json == {
        "needs_password": True,
        "is_logged_in": False,
        "csrf_token": None,
    }
    assert guarded.browser.get("/").status == 200  # the empty page itself


def test_the_password_opens_a_session_until_it_is_closed(guarded: OpenPage) -> None:
    browser = guarded.browser
    assert browser.log_in("wrong password").status == 401
    assert browser.get("status").status == 401
    answer = browser.log_in()
    assert answer.status == 200
    cookie = answer.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.split("; "))
    assert "secure" not in cookie  # over http
    assert browser.get("status").json["is_logged_in"]
    thief = Browser(guarded.port)
    thief.cookie = browser.cookie
    assert browser.ask("POST", "logout").status == 204
    assert thief.get("status").status == 401


def test_behind_a_proxy_with_tls_the_cookie_is_secure(guarded: OpenPage) -> None:
    answer = guarded.browser.ask("POST", "login", {"password": PASSWORD}, x_forwarded_proto="https")
    assert "secure" in answer.headers["set-cookie"].lower()


def test_passwords_cannot_be_tried_quickly(guarded: OpenPage) -> None:
    statuses = [guarded.browser.log_in("wrong password").status for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    answer = guarded.browser.log_in()  # nor the right one
    assert answer.status == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert any("wrong password" in text for text in guarded.page.take_remarks())


def test_attempts_are_counted_by_address_and_forgiven() -> None:
    now_s = [0.0]
    limit = AttemptLimit(3, 10.0, lambda: now_s[0])
    assert [limit.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
    assert limit.wait_s("b") == 0.0
    now_s[0] = 10.0
    assert [limit.wait_s("a") for _ in range(2)] == [0.0, 10.0]
    limit.forgive("a")
    assert limit.wait_s("a") == 0.0
    for i in range(5000):
        limit.wait_s(str(i))
    assert len(limit._due_s) <= 1000  # noqa: SLF001 - who has many addresses fills no memory


def test_sessions_end_when_they_are_not_used() -> None:
    now_s = [0.0]
    sessions = Sessions(lambda: now_s[0])
    token = sessions.open()
    now_s[0] = 0.9 * SESSION_S
    assert sessions.find(token) is not None
    now_s[0] = 1.8 * SESSION_S
    assert sessions.find(token) is not None
    now_s[0] = 3.0 * SESSION_S
    assert sessions.find(token) is None
    assert sessions.find("anything") is None


def test_another_password_ends_all_sessions_and_what_they_look_at(
    guarded: OpenPage, tmp_path: Path
) -> None:
    guarded.browser.log_in()
    live = Events(guarded.browser)
    assert live.first("status")["needs_password"]
    password_file(tmp_path, "another password")
    change = guarded.page.refresh(ExitStack())
    assert change is not None
    change()
    assert guarded.browser.get("status").status == 401
    for _ in live:  # it ends
        pass
    assert guarded.browser.log_in().status == 401
    assert guarded.browser.log_in("another password").status == 200


# What other pages may make a browser do


def test_nothing_is_changed_without_the_token(guarded: OpenPage) -> None:
    browser = guarded.browser
    browser.log_in()
    for token in ("", "wrong", "\u00e4".encode().decode("latin-1")):
        answer = browser.ask("POST", "run", {"is_paused": True}, x_csrf_token=token)
        assert (answer.status, "X-CSRF-Token" in answer.error) == (403, True)
    other = Browser(guarded.port)
    other.log_in()
    browser.token = other.token  # of another session
    assert browser.ask("POST", "run", {"is_paused": True}).status == 403
    assert guarded.page.take_wishes() == []


def test_the_token_is_asked_for_without_a_password_too() -> None:
    with open_page() as opened:
        assert opened.browser.ask("POST", "run", {"is_paused": True}).status == 403
        opened.browser.take_token()
        answer = opened.browser.ask("POST", "run", {"is_paused": True}, sec_fetch_site="cross-site")
        assert answer.status == 403
        form = "application/x-www-form-urlencoded"
        answer = opened.browser.ask("POST", "run", {"is_paused": True}, content_type=form)
        assert answer.status == 400
        assert opened.page.take_wishes() == []


def test_a_stranger_cannot_give_this_machine_a_name_of_theirs() -> None:
    with open_page() as opened:
        for host in ("evil.example", f"evil.example:{opened.port}", "", "127.0.0.1.evil.example"):
            assert opened.browser.get("status", host=host).status == 421, host
        for host in ("localhost:1", f"127.0.0.1:{opened.port}", "[::1]:80"):
            assert opened.browser.get("status", host=host).status == 200, host


def test_a_proxy_has_names_of_its_own(tmp_path: Path) -> None:
    hosts = ("sounds.example.org",)
    with open_page(password_file=password_file(tmp_path), hosts=hosts) as opened:
        assert opened.browser.get("session", host="sounds.example.org").status == 200
        assert opened.browser.get("session", host="evil.example").status == 421


def test_the_address_that_is_told_is_answered_beside_a_proxy(tmp_path: Path) -> None:
    hosts, secret = ("sounds.example.org",), password_file(tmp_path)
    config = PageConfig(host="0.0.0.0", hosts=hosts, password_file=secret)
    check_host(config, True, urlsplit(config.address).netloc)
    with pytest.raises(Refusal):
        check_host(config, True, "evil.example:8470")


def test_no_password_is_shown_by_what_holds_it(guarded: OpenPage) -> None:
    assert PASSWORD not in repr(msgspec.json.decode(b'{"password": "correct horse"}', type=Login))
    guarded.browser.log_in()
    assert PASSWORD not in " ".join(guarded.page.take_remarks())
