"""What users of django-websocket-redis asked for and suffered from, and what became of it.

By theme, each line with the numbers of its threads (of that project, where no other is named), in our words. Behind it
are the tests that show it, or words of the docs, as in ``test_contract``. What is not built is in ``NOT_YET``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, UWSGI, Valkey
from tests.test_contract import exists

#: theme: {line: tests, or words of the docs}
ASKS: dict[str, dict[str, list[str]]] = {
    "lost, late, doubled, echoed": {
        "#2, redis-py #419: the rest of a burst comes with the next message": [
            "tests/test_crowd.py::test_a_burst_arrives_complete_and_in_order",
            "tests/test_custom_subscriber.py::test_many_that_read_for_themselves",
            "tests/test_custom_subscriber.py::test_what_was_read_before_the_upgrade_arrives",
        ],
        "#268: messages get lost": [
            "tests/test_crowd.py::test_a_burst_arrives_complete_and_in_order",
            "tests/test_delivery.py::test_what_is_published_while_browsers_connect_arrives_once",
            "docs/topics/messages.md::## What is lost, and when",
        ],
        "#173: own messages come back without echo": [
            "tests/test_delivery.py::test_own_messages_sent_quickly_do_not_come_back",
            "tests/test_heartbeat.py::test_one_between_own_messages_does_not_bring_them_back",
        ],
        "#52: a message comes whenever the page is loaded": [
            "tests/test_delivery.py::test_newcomers_get_the_last_message",
            "tests/test_delivery.py::test_nothing_is_kept_with_expire_0",
            "docs/topics/messages.md::It looks like any other",
        ],
        "#249: of two tabs one hears": [
            "tests/test_identities.py::test_several_tabs",
            "tests/test_uwsgi_options.py::test_without_gevent",
        ],
        "#211, #267, #60: all is connected, and nothing arrives": [
            "tests/test_upgrade.py::test_the_log_names_the_channels_but_no_session_key",
            "tests/test_docs.py::test_look_with_redis_cli",
            "docs/howto/nothing-arrives.md::**The facility differs.**",
            "docs/howto/nothing-arrives.md::**The visitor is anonymous.**",
        ],
        "uwsgi #1241, #1716, flask-uwsgi-websocket #47, #48: of messages sent at once the first is heard": [
            "tests/test_websocket.py::test_messages_are_handed_on",
            "tests/test_crowd.py::test_a_thousand_messages_in_the_same_moment",
        ],
        "uwsgi #1350, #1160, #1853: fragments are taken for messages": [
            "tests/protocol/test_server.py::test_messages",
            "tests/protocol/test_peers.py::test_fragments",
        ],
    },
    "connections, memory, scale": {
        "#295: a Redis connection for each websocket": [
            "tests/test_crowd.py::test_a_thousand_browsers_connect_at_once"
        ],
        "#79: reloading a page uses up all connections to Redis": [
            "tests/test_crowd.py::test_a_thousand_browsers_connect_at_once",
            "tests/test_custom_subscriber.py::test_many_that_read_for_themselves",
        ],
        "#73, #93, #94: memory and files of websockets that are gone": [
            "tests/test_churn.py::test_descriptors_come_back",
            "tests/test_runserver.py::test_threads_and_descriptors_come_back",
            "tests/test_custom_subscriber.py::test_who_leaves_is_released_once",
        ],
        "#166, #110: only as many websockets as workers, or as --gevent says": [
            "tests/test_upgrade.py::test_the_soft_limit_of_descriptors_is_raised",
            "tests/test_uwsgi_options.py::test_without_gevent",
            "docs/howto/uwsgi.md::An open websocket is *not* one of them.",
        ],
        "#116: Django on another WSGI server": [
            "tests/test_site06.py::test_audiences",
            "docs/howto/uwsgi.md::## Pages and websockets apart",
        ],
        "#72: under uWSGI's emperor": [
            "tests/test_asks.py::test_an_ini_is_a_vassal",
            "tests/test_recipes.py::test_the_emperor_reloads",
            "docs/howto/uwsgi.md::## Under the emperor",
            "docs/howto/deploy.md::## The emperor",
        ],
        "#278, #299: many round trips for many users": ["tests/test_publisher.py::test_one_round_trip"],
        "#130, #129: how many have heard it": [
            "tests/test_publisher.py::test_the_number_of_listeners",
            "docs/howto/publish.md::## Was anybody there?",
        ],
    },
    "Unicode and binary": {
        "#216, #269: Cyrillic, Chinese and so on end the websocket": [
            "tests/test_delivery.py::test_a_browsers_message_arrives_unchanged",
            "tests/protocol/test_server.py::test_unfinished_character_may_still_be_finished",
        ],
        "#180, #217: such text cannot be published": ["tests/test_delivery.py::test_a_message_arrives_unchanged"],
        "#105, #122, #47, #96: RedisMessage under Python 3": ["tests/test_redis_store.py::test_redis_message"],
        "#135, #139, #142: close frames under Python 3": [
            "tests/test_closing.py::test_the_browser_closes",
            "tests/protocol/test_frames.py::test_parse_close",
        ],
        "#236, #237: binary messages": [
            "tests/test_delivery.py::test_a_browsers_message_arrives_unchanged",
            "tests/test_publication.py::test_utf8_travels_as_text_and_the_rest_as_binary",
        ],
    },
    "deployment and handshake": {
        "#54, #124, #247: no Sec-WebSocket-Key, or an upgrade that uWSGI cannot make": [
            "tests/test_upgrade.py::test_answers",
            "tests/test_uwsgi_options.py::test_what_cannot_work_is_refused_by_name",
        ],
        "#193, #204, #273: who opens such a URL as a page is told why it is none": [
            "tests/test_upgrade.py::test_answers",
            "tests/test_upgrade.py::test_a_refusal_is_a_line_of_plain_text",
            "docs/reference/status-codes.md::It is no websocket's request",
        ],
        "#71, #223, #133: 502 behind nginx": [
            "tests/test_recipes.py::test_a_user_message_arrives",
            "docs/howto/uwsgi.md::`socket` behind nginx's `uwsgi_pass` is fine, too.",
            "docs/howto/deploy.md::the names of the sockets say",
        ],
        "#101, #111, #266, #272, #244: a traceback at each end": ["tests/test_upgrade.py::test_a_normal_end_is_quiet"],
        "#207, #266: bytes behind the close frame": [
            "tests/test_upgrade.py::test_a_subscriber_that_fails_closes_with_1011",
            "tests/test_websocket.py::test_nothing_is_sent_after_the_end",
        ],
        "#238, #239: a close code where a status should be": [
            "tests/test_closing.py::test_the_browser_closes",
            "tests/test_docs.py::test_statuses",
        ],
        "#186, #56, #123, #10: idle websockets are cut off": [
            "tests/loop/test_connection.py::test_silence",
            "tests/test_recipes.py::test_an_idle_minute",
            "docs/howto/uwsgi.md::ws4redis pings a silent browser every 25 seconds.",
        ],
        "#271: settings that are not configured when wsgi.py imports": [
            "tests/test_historic.py::test_settings_must_be_named_before_the_door_patches",
            "tests/test_site06.py::test_pages",
        ],
        "#245: Sentinel": [
            "tests/test_connections.py::test_sentinel_by_the_setting",
            "tests/test_connections.py::test_sentinel_by_the_servers_argument",
            "docs/howto/redis.md::## Sentinel",
        ],
        "#284, #285: Redis by TLS": [
            "tests/test_connections.py::test_connections",
            "docs/howto/redis.md::URL, with TLS",
        ],
        "#212, #213, #214, #215, #241: Redis by a Unix socket": [
            "tests/test_publisher.py::test_unix_sockets",
            "tests/test_connections.py::test_connections",
        ],
        "#206, #248: Safari wants HTTP/1.1 of runserver": [
            "tests/test_upgrade.py::test_subprotocols",
            "tests/protocol/test_handshake.py::test_accept_response",
        ],
        "#132, #229: wss:// while developing": ["tests/test_runserver.py::test_other_development_servers"],
        "#210: runserver starts anew when a browser comes": [
            "tests/test_runserver.py::test_autoreload_with_open_websockets"
        ],
        "#184: websockets on a host of their own": [
            "tests/test_upgrade.py::test_answers",
            "docs/howto/uwsgi.md::## Websockets on another host",
        ],
    },
    "authentication, session, user": {
        "#59: user and session are heard under runserver only": [
            "tests/test_delivery.py::test_audiences",
            "tests/test_identities.py::test_a_session_without_a_login",
            "docs/howto/nothing-arrives.md::**The cookie did not come along.**",
        ],
        "#267: the loop takes somebody for anonymous": [
            "tests/test_session_engines.py::test_a_login_is_heard_by_all_audiences",
            "tests/test_upgrade.py::test_the_log_names_the_channels_but_no_session_key",
        ],
        "#67, #82, #164, #232, #233: tokens in place of the session": [
            "tests/test_docs.py::test_a_ticket",
            "tests/test_upgrade.py::test_a_hook_may_begin_with_what_it_replaces",
            "docs/howto/authorise.md::## Who is it",
        ],
        "#220: a site without users": ["tests/test_upgrade.py::test_a_site_without_users_and_sessions"],
        "#261: channels for anybody": [
            "tests/test_site06.py::test_own_channels",
            "docs/howto/custom-subscriber.md::## Other channels",
        ],
        "#109: sessions and users of another kind": [
            "tests/test_session_engines.py::test_a_login_is_heard_by_all_audiences",
            "tests/test_identities.py::test_users_with_an_email_address",
        ],
        "#26: users with an e-mail address": ["tests/test_identities.py::test_users_with_an_email_address"],
        "#17, #49, #277: groups without the database, of another kind, that change": [
            "tests/test_groups.py::test_what_is_kept_and_published",
            "tests/test_identities.py::test_open_websockets_follow_a_change_of_groups",
            "docs/howto/groups.md::Open websockets follow at once",
        ],
        "#92, #50: SELF without a request": ["tests/test_channels.py::test_self_without_a_request"],
        "#103: hooks that ask the database": [
            "tests/test_upgrade.py::test_hooks_fail_closed",
            "tests/test_session_engines.py::test_a_slow_database_keeps_only_those_waiting_who_need_it",
            "docs/howto/authorise.md::**They may block.**",
        ],
    },
    "channels and permissions": {
        "#69, #29: other channels on an open websocket": [
            "tests/test_custom_subscriber.py::test_rooms",
            "tests/test_custom_subscriber.py::test_rooms_under_churn",
            "tests/js/ws4redis.test.js::set_uri connects to the new address at once while",
        ],
        "#261: channels of any name": ["tests/test_site06.py::test_own_channels"],
        "#190, #174, #103: who may publish": [
            "tests/test_docs.py::test_only_users",
            "tests/test_docs.py::test_by_facility",
            "tests/test_upgrade.py::test_hooks_fail_closed",
            "docs/howto/authorise.md::## Who may do what",
        ],
    },
    "the JavaScript client": {
        "#29, #179, #181: end it, change its channel": [
            "tests/js/ws4redis.test.js::close() is final while",
            "tests/js/ws4redis.test.js::set_uri connects to the new address at once while",
        ],
        "#57: back off": [
            "tests/js/ws4redis.test.js::the delay's bound grows to 30 seconds, and starts again on open",
            "docs/reference/javascript.md::## Reconnecting",
        ],
        "#161, #178: is it connected": [
            "tests/js/ws4redis.test.js::state while",
            "tests/js/ws4redis.test.js::callbacks come in order, as methods of the options",
        ],
        "#160, #136, django-angular #267: without jQuery, as a module": [
            "tests/js/ws4redis.test.js::called",
            "tests/test_javascript.py::test_the_module_as_collected",
        ],
        "#168: another app has a file of that name": [
            "tests/test_javascript.py::test_both_paths_are_one_script",
            "tests/test_javascript.py::test_the_module_as_collected",
        ],
        "#201, #243: STATIC_URL, and a demonstration that runs": [
            "tests/test_site06.py::test_pages",
            "tests/test_demo.py::test_two_windows_chat",
        ],
        "#41, #97, #128, #131, #204: examples and their tests that run": [
            "tests/test_examples.py::test_the_sites_own_tests",
            "tests/test_examples.py::test_john_writes_to_mary",
        ],
        "#152, #149, #151, #154: a subprotocol that nobody asked for": [
            "tests/test_upgrade.py::test_answers",
            "tests/test_upgrade.py::test_subprotocols",
        ],
    },
}

#: line: why, or what to do meanwhile
NOT_YET: dict[str, str] = {
    "#39, #289: gunicorn, gevent's own server, ASGI": "there are two doors; another one is a module of its own",
    "#68: server-sent events or polling where proxies stop websockets": "a second way to the same channels",
    "#86: Django's middleware at the upgrade": "none runs; a hook may call what it needs",
    "#280: another attribute than the user's name": "no setting; a hook may set a user with another get_username()",
    "#162, #189: several facilities on one websocket, chosen by the browser": "multiplexing; open two, or subclass",
    "#167, #169: another subscriber for each facility": "one class for each server; it sees the path",
}

LINES = [pytest.param(references, id=line) for theme in ASKS.values() for line, references in theme.items()]


@pytest.mark.parametrize("references", LINES)
def test_each_line_is_answered(references: list[str]) -> None:
    assert references
    for each in references:
        assert exists(each), f"{each} does not exist"


def test_what_is_not_yet_is_not_answered() -> None:
    answered = {line for theme in ASKS.values() for line in theme}
    assert not answered & set(NOT_YET)
    assert all(NOT_YET.values())


# -- the emperor --


class Emperor(UWSGI):
    """Starts the same options as a vassal."""

    vassals: Path

    def command(self) -> list[str]:
        lines = ["[uwsgi]", f"http-socket = 127.0.0.1:{self.port}", f"virtualenv = {sys.prefix}", f"chdir = {ROOT}"]
        lines += [
            f"{name} = {'true' if value is True else value}"
            for name, value in self.options.items()
            if value is not None
        ]
        (self.vassals / "site.ini").write_text("\n".join([*lines, "die-on-term = true", "no-orphans = true", ""]))
        return [self.program, "--emperor", str(self.vassals), "--emperor-wrapper", self.program]

    def answers(self) -> bool:
        return super().answers() and "running gevent loop engine" in self.log()


def test_an_ini_is_a_vassal(redis_server: Valkey, tmp_path: Path) -> None:
    emperor = Emperor(redis_server.url)
    emperor.vassals = tmp_path
    with emperor:
        browser = emperor.connect("/ws/vassal?subscribe-broadcast")
        assert redis_server.client().publish("broadcast:vassal", "hi") == 1
        assert browser.recv() == "hi"
