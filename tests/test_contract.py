"""The contract of django-websocket-redis by section, and where each line of it is shown.

What its users rely on, said in our words, and the tests of it. Where the original had a defect, or its manual and its
code disagreed, the line says what was decided. A new section is one more entry of ``CONTRACT``.
"""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.servers import ROOT

#: section: {line: tests}
CONTRACT: dict[str, dict[str, list[str]]] = {
    "3 names of channels and keys": {
        "one name is the channel and the key of its last message": [
            "tests/test_publisher.py::test_messages",
            "tests/test_upgrade.py::test_the_prefix_begins_every_name",
        ],
        "the prefix comes first with a colon; without one there is none": [
            "tests/test_channels.py::test_names",
            "tests/test_redis_store.py::test_get_prefix",
            "tests/test_upgrade.py::test_the_prefix_begins_every_name",
        ],
        "broadcast": [
            "tests/test_channels.py::test_names",
            "tests/test_upgrade.py::test_the_prefix_begins_every_name",
        ],
        "user, by get_username(), which may be an e-mail address": [
            "tests/test_channels.py::test_names",
            "tests/test_identities.py::test_users_with_an_email_address",
            "tests/test_upgrade.py::test_the_prefix_begins_every_name",
        ],
        "group, by its name": [
            "tests/test_channels.py::test_names",
            "tests/test_identities.py::test_users_with_an_email_address",
            "tests/test_upgrade.py::test_the_prefix_begins_every_name",
        ],
        "session, by its key": [
            "tests/test_channels.py::test_names",
            "tests/test_identities.py::test_several_tabs",
            "tests/test_upgrade.py::test_the_prefix_begins_every_name",
        ],
        "what is addressed may be anything that can be written, e.g. a number": ["tests/test_channels.py::test_names"],
        "a publisher's facility is taken as it is": ["tests/test_channels.py::test_names"],
        "a websocket's facility is its path without the first WEBSOCKET_URL in it": [
            "tests/test_channels.py::test_facilities",
            "tests/test_delivery.py::test_facilities",
        ],
        "that is percent-decoded": [
            "tests/test_delivery.py::test_facilities",
            "tests/test_delivery.py::test_another_facility_is_not_heard",
            "tests/test_subscriber.py::test_the_facility_is_the_decoded_path",
        ],
        "case matters": [
            "tests/test_channels.py::test_facilities",
            "tests/test_delivery.py::test_another_facility_is_not_heard",
        ],
        "it may have slashes and colons": [
            "tests/test_channels.py::test_facilities",
            "tests/test_delivery.py::test_facilities",
        ],
        "a slash at its end belongs to it": [
            "tests/test_channels.py::test_facilities",
            "tests/test_delivery.py::test_another_facility_is_not_heard",
        ],
        "it may be empty": [
            "tests/test_channels.py::test_facilities",
            "tests/test_delivery.py::test_facilities",
        ],
        "decided: where a proxy has stripped WEBSOCKET_URL, the rest without its first slash": [
            "tests/test_channels.py::test_facilities"
        ],
        "nothing is escaped, so names may collide": ["tests/test_channels.py::test_names"],
        "decided: an audience without a facility is an error": [
            "tests/test_channels.py::test_a_missing_facility",
            "tests/test_publisher.py::test_an_audience_without_a_facility",
        ],
        "other programs publish to these names by hand": [
            "tests/test_delivery.py::test_redis_cli_reaches_the_browsers",
            "tests/test_delivery.py::test_what_redis_cli_keeps_reaches_newcomers",
            "tests/test_docs.py::test_look_with_redis_cli",
        ],
        "decided: a SELF that stands for nobody addresses no channel": [
            "tests/test_channels.py::test_self",
            "tests/test_channels.py::test_own_channels",
        ],
        "decided: neither does a websocket of nobody hear or say anything there": [
            "tests/test_subscriber.py::test_flags_become_channels",
            "tests/test_delivery.py::test_audiences",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
        "decided: a session without a key has no channel": [
            "tests/test_channels.py::test_self",
            "tests/test_subscriber.py::test_flags_become_channels",
            "tests/test_delivery.py::test_audiences",
        ],
    },
    "4.1 SELF": {
        "one object, compared by identity": [
            "tests/test_subscriber.py::test_historic_names",
            "tests/test_channels.py::test_addressed_channels",
        ],
        "among users it is the current one": ["tests/test_channels.py::test_self"],
        "among groups it is all that the session knows, or none": ["tests/test_channels.py::test_self"],
        "among sessions it is the current one": ["tests/test_channels.py::test_self"],
        "decided: without a request it is an error": ["tests/test_channels.py::test_self_without_a_request"],
    },
    "4.2 RedisMessage": {
        "text becomes UTF-8, the heartbeat None": ["tests/test_redis_store.py::test_redis_message"],
        "bytes and bytearrays stay what they are, the heartbeat becomes None": [
            "tests/test_redis_store.py::test_redis_message"
        ],
        "of a reply of Pub/Sub it is the message, even the heartbeat": [
            "tests/test_redis_store.py::test_redis_message",
            "tests/test_redis_store.py::test_the_table_has_a_real_push",
        ],
        "other replies become None": ["tests/test_redis_store.py::test_redis_message"],
        "anything else becomes None": ["tests/test_redis_store.py::test_redis_message"],
        "decided: a publisher refuses that with an error that names it": [
            "tests/test_publisher.py::test_what_is_no_message",
            "tests/test_publisher.py::test_the_heartbeat_is_no_message",
        ],
        "empty text is an empty message, which is false": ["tests/test_redis_store.py::test_a_message_is_bytes"],
        "without a heartbeat nothing is filtered": ["tests/test_redis_store.py::test_redis_message"],
        "it is bytes, and equals bytes": ["tests/test_redis_store.py::test_a_message_is_bytes"],
    },
    "4.3 RedisStore": {
        "it is made of a Redis client": [
            "tests/test_redis_store.py::test_a_store_of_a_plain_client",
            "tests/test_publisher.py::test_publishers_share_the_way_to_redis",
        ],
        "_publishers is a set of names": [
            "tests/test_redis_store.py::test_a_subclass_chooses_its_channels_itself",
            "tests/test_publisher.py::test_publishers_do_not_share_state",
        ],
        "_expire is the class's default": [
            "tests/test_redis_store.py::test_the_expiry_follows_the_settings",
            "tests/test_redis_store.py::test_a_subclass_chooses_its_expiry",
        ],
        "decided: text and bytes are messages, too": ["tests/test_publisher.py::test_messages"],
        "anything else is a ValueError": ["tests/test_publisher.py::test_what_is_no_message"],
        "each channel is published to, and keeps the message": ["tests/test_publisher.py::test_expire"],
        "expire in seconds replaces what was kept, and its time": ["tests/test_publisher.py::test_expire"],
        "expire of 0 or less publishes only, and leaves what was kept": [
            "tests/test_publisher.py::test_expire",
            "tests/test_delivery.py::test_what_is_not_kept_leaves_what_was",
        ],
        "expire of None means WS4REDIS_EXPIRE": [
            "tests/test_publisher.py::test_expire",
            "tests/test_publisher.py::test_the_default_is_an_hour",
        ],
        "decided: None as WS4REDIS_EXPIRE publishes only": ["tests/test_publisher.py::test_expire"],
        "without channels nothing happens": ["tests/test_publisher.py::test_without_channels_nothing_happens"],
        "decided: the number of receivers is returned": [
            "tests/test_publisher.py::test_the_number_of_listeners",
            "tests/test_publisher.py::test_the_listeners_of_all_channels_are_counted",
        ],
        "pipeline_publish_message() does the same in one round trip": [
            "tests/test_publisher.py::test_messages",
            "tests/test_publisher.py::test_expire",
            "tests/test_publisher.py::test_one_round_trip",
        ],
        "its transaction=True means MULTI and EXEC": ["tests/test_publisher.py::test_transaction"],
        "get_prefix() is static": ["tests/test_redis_store.py::test_get_prefix"],
        "channels come in the order broadcast, groups, users, sessions": [
            "tests/test_channels.py::test_addressed_channels",
            "tests/test_redis_store.py::test_historic_names",
        ],
        "only True broadcasts": ["tests/test_channels.py::test_addressed_channels"],
        "each entry of a list or tuple counts once, with SELF expanded": [
            "tests/test_channels.py::test_addressed_channels",
            "tests/test_channels.py::test_self",
        ],
        "True for SELF and a string for one entry are deprecated, and warn": [
            "tests/test_channels.py::test_deprecated_forms_still_work",
            "tests/test_channels.py::test_lists_are_not_deprecated",
            "tests/test_publisher.py::test_the_deprecation_points_at_the_caller",
        ],
        "decided: False, and a True that stands for nobody, address nobody": [
            "tests/test_channels.py::test_addressed_channels",
            "tests/test_channels.py::test_deprecated_forms_still_work",
        ],
        "decided: sets, generators, querysets and lazy objects are lists, too": [
            "tests/test_channels.py::test_addressed_channels",
            "tests/test_channels.py::test_a_queryset_is_a_list",
        ],
        "decided: what is no list is a ValueError": ["tests/test_channels.py::test_what_is_no_list"],
    },
    "5 RedisPublisher": {
        "it takes facility, broadcast, users, groups, sessions and request": [
            "tests/test_publisher.py::test_the_arguments_have_their_historic_names",
            "tests/test_publisher.py::test_all_audiences",
        ],
        "any combination of audiences adds up": ["tests/test_publisher.py::test_all_audiences"],
        "all of a process share one pool": [
            "tests/test_publisher.py::test_publishers_share_the_way_to_redis",
            "tests/test_publisher.py::test_the_client_follows_the_settings",
            "tests/test_publisher.py::test_threads_share_the_client",
        ],
        "without arguments it fetches only": [
            "tests/test_publisher.py::test_fetch_message",
            "tests/test_publisher.py::test_without_channels_nothing_happens",
        ],
        "it may be used again": ["tests/test_publisher.py::test_publishing_works_at_once_after_a_restart"],
        "instances share no channels": ["tests/test_publisher.py::test_publishers_do_not_share_state"],
        "it works in views": ["tests/test_delivery.py::test_a_django_view_publishes"],
        "it works in threads, forked workers and a shell": [
            "tests/test_publisher.py::test_many_publish_at_once",
            "tests/test_publisher.py::test_a_fork_shares_no_connection",
            "tests/test_docs.py::test_the_tutorials_shell_publishes",
        ],
        "what is fetched is plain bytes": ["tests/test_publisher.py::test_what_is_fetched_is_plain_bytes"],
        "it is that of the session, the user, the groups or the broadcast, in this order": [
            "tests/test_publisher.py::test_fetch_message"
        ],
        "an audience restricts that": ["tests/test_publisher.py::test_fetch_message"],
        "what is empty is skipped": ["tests/test_publisher.py::test_fetch_message_skips_what_is_empty"],
        "who has not logged in has no user and no groups": ["tests/test_publisher.py::test_fetch_message"],
        "missing groups or a missing session are tolerated": [
            "tests/test_publisher.py::test_fetch_message",
            "tests/test_publisher.py::test_fetch_message_tolerates_what_is_missing",
        ],
        "an unknown audience has nothing": ["tests/test_publisher.py::test_fetch_message"],
        "without a request there is the broadcast only": [
            "tests/test_publisher.py::test_fetch_message_without_a_visitor"
        ],
        "decided: so it is for a request without user and session": [
            "tests/test_publisher.py::test_fetch_message_without_a_visitor",
            "tests/test_publisher.py::test_fetch_message_tolerates_what_is_missing",
        ],
    },
    "7 URLs": {
        "only names of parameters count, not their values": [
            "tests/test_channels.py::test_flags",
            "tests/test_delivery.py::test_audiences",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
        "names are stripped, and case does not matter": [
            "tests/test_channels.py::test_flags",
            "tests/test_delivery.py::test_audiences",
        ],
        "unknown names are ignored": [
            "tests/test_upgrade.py::test_which_flags_are_known",
            "tests/test_delivery.py::test_audiences",
        ],
        "their order does not matter": [
            "tests/test_delivery.py::test_last_messages_come_in_the_order_of_audiences",
            "tests/test_subscriber.py::test_flags_become_channels",
        ],
        "subscribe-* hears": ["tests/test_delivery.py::test_audiences"],
        "publish-* says": ["tests/test_delivery.py::test_where_a_browsers_message_goes"],
        "echo": ["tests/test_delivery.py::test_own_messages_come_back_with_echo_only"],
        "there are eight flags and echo": [
            "tests/test_subscriber.py::test_the_flags_that_urls_know",
            "tests/test_docs.py::test_flags",
        ],
        "a subscriber may have further flags": ["tests/test_upgrade.py::test_which_flags_are_known"],
        "decided: subscribe=user and publish=user are other spellings": [
            "tests/test_channels.py::test_flags",
            "tests/test_delivery.py::test_audiences",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
        "decided: authorisation sees them as the usual ones": [
            "tests/test_upgrade.py::test_allowed_channels_filters",
            "tests/test_upgrade.py::test_the_hook_is_given_flags_and_its_own_hold",
        ],
        "without a flag a websocket is accepted, and hears nothing": ["tests/test_delivery.py::test_audiences"],
        "but heartbeats": ["tests/test_heartbeat.py::test_without_any_flag_it_arrives_too"],
        "without publish-* what is said is dropped silently": [
            "tests/test_delivery.py::test_what_is_said_without_a_flag_is_dropped",
            "tests/test_subscriber.py::test_a_listener_without_a_voice_publishes_nothing",
        ],
        "one websocket has one facility": ["tests/test_delivery.py::test_another_facility_is_not_heard"],
        "it may have several audiences": [
            "tests/test_delivery.py::test_last_messages_come_in_the_order_of_audiences",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
    },
    "9.1 answers before the upgrade": {
        "status line, and a body that says what is wrong; decided: as plain text": [
            "tests/test_upgrade.py::test_a_refusal_is_a_line_of_plain_text"
        ],
        "400: not GET": ["tests/test_upgrade.py::test_answers"],
        "400: not HTTP/1.1": [
            "tests/test_upgrade.py::test_answers",
            "tests/protocol/test_handshake.py::test_refused_request_line",
        ],
        "400: no Upgrade, or another one; the body speaks of an upgrade to a websocket": [
            "tests/test_upgrade.py::test_answers",
            "tests/protocol/test_handshake.py::test_refused_headers",
        ],
        "426: no version; decided: with the headers of RFC 6455": [
            "tests/test_upgrade.py::test_answers",
            "tests/protocol/test_handshake.py::test_refused_version",
        ],
        "versions 13, 8 and 7 are accepted; decided: others are a 426": [
            "tests/test_upgrade.py::test_answers",
            "tests/protocol/test_handshake.py::test_accepted",
            "tests/protocol/test_handshake.py::test_refused_version",
        ],
        "400: no key (decided: under uWSGI, too), or not of 16 bytes": [
            "tests/test_upgrade.py::test_answers",
            "tests/protocol/test_handshake.py::test_refused_headers",
        ],
        "400, decided: a key that is no base64": [
            "tests/test_upgrade.py::test_answers",
            "tests/protocol/test_handshake.py::test_refused_headers",
        ],
        "decided: what uWSGI makes impossible is a 503 that the log explains": [
            "tests/test_uwsgi_options.py::test_what_cannot_work_is_refused_by_name",
            "tests/test_upgrade.py::test_a_server_without_room_refuses_with_503",
        ],
        "403: a hook raises PermissionDenied": [
            "tests/test_upgrade.py::test_hooks_fail_closed",
            "tests/test_upgrade.py::test_what_a_hook_raises_becomes_a_status",
        ],
        "decided: Http404 is a 404, SuspiciousOperation a 400": [
            "tests/test_upgrade.py::test_what_a_hook_raises_becomes_a_status"
        ],
        "500: anything else; decided: without its text": [
            "tests/test_upgrade.py::test_hooks_fail_closed",
            "tests/test_upgrade.py::test_what_a_hook_raises_becomes_a_status",
        ],
        "503, decided: Redis is away": ["tests/test_outage.py::test_a_browser_that_comes_during_an_outage"],
    },
    "9.2 who is it": {
        "the cookie of SESSION_COOKIE_NAME leads to session and user": [
            "tests/auth/test_identity.py::test_logged_in",
            "tests/auth/test_identity.py::test_the_cookie_may_have_another_name",
        ],
        "decided: both are loaded before the upgrade": ["tests/auth/test_identity.py::test_everything_is_loaded"],
        "no middleware runs": ["tests/test_upgrade.py::test_no_middleware_runs"],
        "no cookie, decided: AnonymousUser and an empty session": ["tests/auth/test_identity.py::test_no_cookie"],
        "no cookie: broadcasts work; decided: all else has no channel": [
            "tests/test_delivery.py::test_audiences",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
        "no login: broadcasts and session work; decided: user and group have no channel": [
            "tests/auth/test_identity.py::test_a_session_without_login",
            "tests/test_identities.py::test_a_session_without_a_login",
            "tests/test_delivery.py::test_audiences",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
        "an expired session, decided: as no cookie": [
            "tests/auth/test_identity.py::test_an_expired_session",
            "tests/test_identities.py::test_an_expired_session_is_none",
        ],
        "an invented session, decided: as no cookie": [
            "tests/auth/test_identity.py::test_a_session_that_nobody_knows",
            "tests/test_identities.py::test_an_invented_session_is_nobodys",
        ],
        "logged in: everything works": [
            "tests/auth/test_identity.py::test_logged_in",
            "tests/test_delivery.py::test_audiences",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
    },
    "9.3 WS4REDIS_PROCESS_REQUEST": {
        "a callable or its path": ["tests/auth/test_permissions.py::test_hooks"],
        "it is called in place of the cookie's look-up": [
            "tests/test_upgrade.py::test_process_request_says_who_it_is",
            "tests/test_docs.py::test_a_ticket",
        ],
        "decided: where it sets neither user nor session, nobody is there": [
            "tests/test_upgrade.py::test_a_hook_that_identifies_nobody_leaves_nobodys_channels",
            "tests/test_subscriber.py::test_a_request_without_user_and_session",
        ],
        "403: it raises PermissionDenied": [
            "tests/test_upgrade.py::test_hooks_fail_closed",
            "tests/test_upgrade.py::test_what_a_hook_raises_becomes_a_status",
        ],
        "a token in the URL may say who it is": [
            "tests/test_upgrade.py::test_process_request_says_who_it_is",
            "tests/test_docs.py::test_a_ticket",
        ],
        "wanted: it may call what it replaces": ["tests/test_upgrade.py::test_a_hook_may_begin_with_what_it_replaces"],
    },
    "9.4 WS4REDIS_ALLOWED_CHANNELS": {
        "None allows everything": ["tests/auth/test_permissions.py::test_what_the_hook_leaves"],
        "a callable or its path": [
            "tests/auth/test_permissions.py::test_hooks",
            "tests/auth/test_permissions.py::test_what_the_hook_leaves",
        ],
        "it is given the request and the flags that are known": [
            "tests/test_upgrade.py::test_the_hook_is_given_flags_and_its_own_hold"
        ],
        "what it returns, any iterable, are the flags that hold, unchecked": [
            "tests/auth/test_permissions.py::test_what_the_hook_leaves",
            "tests/test_upgrade.py::test_the_hook_is_given_flags_and_its_own_hold",
            "tests/test_upgrade.py::test_allowed_channels_filters",
        ],
        "403: it raises PermissionDenied": [
            "tests/auth/test_permissions.py::test_a_hook_that_fails_refuses",
            "tests/test_upgrade.py::test_hooks_fail_closed",
            "tests/test_upgrade.py::test_what_a_hook_raises_becomes_a_status",
        ],
        "it may decide by the path": ["tests/test_docs.py::test_by_facility"],
        "decided: it may block, e.g. ask the database": ["tests/test_upgrade.py::test_hooks_fail_closed"],
        "decided: a path that leads nowhere lets nobody in": [
            "tests/auth/test_permissions.py::test_a_hook_that_fails_refuses",
            "tests/test_upgrade.py::test_a_hook_that_cannot_be_imported_refuses_all",
            "tests/test_settings.py::test_e003_a_path_that_leads_nowhere",
        ],
        "decided: one that fails lets nobody in, an AttributeError of a path's included": [
            "tests/auth/test_permissions.py::test_a_hook_that_fails_refuses",
            "tests/test_upgrade.py::test_hooks_fail_closed",
        ],
        "decided: None as its answer leaves the flags, and is warned of": [
            "tests/auth/test_permissions.py::test_a_hook_that_returns_nothing_leaves_all_and_is_named_once",
            "tests/test_upgrade.py::test_a_hook_that_returns_none_is_named_once",
            "tests/test_upgrade.py::test_the_hook_is_given_flags_and_its_own_hold",
        ],
    },
    "9.5 origin": {
        "decided: a page of another site that comes with a cookie is refused": [
            "tests/test_upgrade.py::test_answers",
            "tests/auth/test_origin.py::test_the_requests_own_host",
            "tests/auth/test_origin.py::test_any_cookie_counts",
        ],
        "decided: without a cookie, or without an origin, it is not": [
            "tests/test_upgrade.py::test_answers",
            "tests/auth/test_origin.py::test_a_browser_without_cookies_may_come_from_anywhere",
            "tests/auth/test_origin.py::test_what_is_no_browser_sends_no_origin",
        ],
    },
    "10 heartbeats": {
        "without the setting nothing is filtered": [
            "tests/test_heartbeat.py::test_without_the_setting_nothing_is_filtered"
        ],
        "without the setting nothing is sent": ["tests/loop/test_connection.py::test_silence"],
        "a browser's heartbeat, text or binary, is neither published nor kept": [
            "tests/test_heartbeat.py::test_a_browsers_heartbeat_is_answered_and_goes_no_further"
        ],
        "a browser gets the very text at least every four seconds": [
            "tests/test_heartbeat.py::test_idle_browsers_get_one_at_least_every_4_seconds",
            "tests/loop/test_connection.py::test_heartbeats_when_idle",
        ],
        "decided: only if it gets nothing else, or as an answer": [
            "tests/loop/test_connection.py::test_no_heartbeat_while_there_are_messages",
            "tests/test_heartbeat.py::test_a_browsers_heartbeat_is_answered_and_goes_no_further",
        ],
        "one that is published by hand is sent on": ["tests/test_heartbeat.py::test_published_by_hand_it_is_sent_on"],
        "decided: one between own messages does not bring them back": [
            "tests/test_heartbeat.py::test_one_between_own_messages_does_not_bring_them_back"
        ],
    },
    "11.1 echo": {
        "with echo everything arrives, own messages included": [
            "tests/test_delivery.py::test_own_messages_come_back_with_echo_only"
        ],
        "with echo it arrives once for each channel": [
            "tests/test_delivery.py::test_with_echo_own_message_comes_back_once_for_each_channel"
        ],
        "without echo own messages do not come back, on none of the channels": [
            "tests/test_delivery.py::test_own_messages_come_back_with_echo_only",
            "tests/test_delivery.py::test_own_message_on_two_audiences_does_not_come_back",
            "tests/test_subscriber.py::test_what_will_come_back_is_remembered",
        ],
        "decided: however quickly they follow each other": [
            "tests/test_delivery.py::test_own_messages_sent_quickly_do_not_come_back"
        ],
        "decided: an equal message of somebody else arrives": [
            "tests/test_delivery.py::test_somebody_elses_equal_message_is_not_swallowed",
            "tests/test_delivery.py::test_a_views_message_that_equals_ones_own_arrives",
            "tests/test_subscriber.py::test_each_own_message_is_swallowed_once",
        ],
        "decided: the messages are counted for each channel": [
            "tests/test_subscriber.py::test_own_messages_of_one_channel_are_not_those_of_another"
        ],
        "decided: an empty message is one": [
            "tests/test_delivery.py::test_a_message_arrives_unchanged",
            "tests/test_delivery.py::test_a_browsers_message_arrives_unchanged",
        ],
        "who comes back gets his own last message": [
            "tests/test_delivery.py::test_who_comes_back_gets_his_own_last_message"
        ],
    },
    "11.2 the last message": {
        "a channel keeps the last only": ["tests/test_delivery.py::test_newcomers_get_the_last_message"],
        "every newcomer gets it, each time; it is not used up": [
            "tests/test_delivery.py::test_newcomers_get_the_last_message"
        ],
        "until its time is over": [
            "tests/test_delivery.py::test_what_has_expired_is_gone",
            "tests/test_publisher.py::test_expire",
        ],
        "it looks like any other": ["tests/loop/test_connection.py::test_what_is_kept_and_what_is_live_is_sent_once"],
        "one of each channel, in the order broadcast, groups, user, session": [
            "tests/test_delivery.py::test_last_messages_come_in_the_order_of_audiences"
        ],
        "what is live comes after it": [
            "tests/test_delivery.py::test_newcomers_get_the_last_message",
            "tests/loop/test_connection.py::test_what_is_kept_and_what_is_live_is_sent_once",
        ],
        "browsers' messages are kept, too, as long as the setting says": [
            "tests/test_delivery.py::test_a_browsers_message_is_kept",
            "tests/test_delivery.py::test_where_a_browsers_message_goes",
        ],
        "decided: stored first, then published": ["tests/test_publisher.py::test_stored_before_published"],
        "decided: subscribed first, then read": [
            "tests/loop/test_pubsub.py::test_the_answer_comes_at_a_known_point",
            "tests/loop/test_listener.py::test_it_hears_a_new_channel_from_its_last_message_on",
        ],
        "decided: nothing is missed or doubled while a browser connects": [
            "tests/test_delivery.py::test_what_is_published_while_browsers_connect_arrives_once",
            "tests/loop/test_connection.py::test_what_is_kept_and_what_is_live_is_sent_once",
        ],
    },
    "11.3 order and loss": {
        "decided: each channel arrives complete and in order, in bursts, too": [
            "tests/test_crowd.py::test_a_burst_arrives_complete_and_in_order",
            "tests/loop/test_hub.py::test_the_order_within_a_channel_is_kept",
            "tests/test_runserver.py::test_a_stalled_browser_delays_nobody",
        ],
        "decided: so does all that a browser says": [
            "tests/test_delivery.py::test_own_messages_sent_quickly_do_not_come_back",
            "tests/loop/test_connection.py::test_messages_are_handled_in_order_and_reading_waits",
            "tests/test_crowd.py::test_a_thousand_messages_in_the_same_moment",
        ],
    },
    "11.4 groups in the session": {
        "a login stores the list of names under ws4redis:memberof": [
            "tests/test_models.py::test_login_stores_the_names_of_the_groups"
        ],
        "a user without groups stores none": ["tests/test_models.py::test_a_user_without_groups"],
        "what is named groups need not be Django's": ["tests/test_identities.py::test_users_with_an_email_address"],
        "they are those of the login": ["tests/auth/test_identity.py::test_groups_are_those_of_the_login"],
        "an older session has none": [
            "tests/auth/test_identity.py::test_a_session_that_is_older_than_the_app_has_no_groups"
        ],
        "decided: a later change can be told": [
            "tests/test_identities.py::test_open_websockets_follow_a_change_of_groups",
            "tests/test_groups.py::test_a_view_of_an_older_session_follows",
        ],
        "decided: without a request or session nothing happens": [
            "tests/test_models.py::test_a_request_without_a_session"
        ],
    },
    "12 closing": {
        "the browser closes without a code: 1000": ["tests/test_closing.py::test_the_browser_closes"],
        "it closes with a code: the same, with its reason": ["tests/test_closing.py::test_the_browser_closes"],
        "1002: a code that must not be sent, or half of one": [
            "tests/test_closing.py::test_the_browser_closes",
            "tests/protocol/test_frames.py::test_invalid_close_code",
        ],
        "decided: 1012 to 1014 are registered by now": ["tests/protocol/test_frames.py::test_valid_close_code"],
        "1002: a reserved bit or opcode": [
            "tests/test_closing.py::test_the_protocol_is_broken",
            "tests/protocol/test_server.py::test_failure",
        ],
        "1002: a control frame that is fragmented or too long": [
            "tests/test_closing.py::test_the_protocol_is_broken",
            "tests/protocol/test_server.py::test_failure",
        ],
        "decided: who just goes is told nothing": [
            "tests/test_closing.py::test_the_browser_just_goes",
            "tests/test_websocket.py::test_the_browser_is_gone",
        ],
        "1007: text or a reason that is no UTF-8": [
            "tests/test_closing.py::test_the_browser_closes",
            "tests/test_closing.py::test_the_protocol_is_broken",
        ],
        "1011, decided: the server fails; nothing follows the close frame": [
            "tests/test_upgrade.py::test_a_subscriber_that_fails_closes_with_1011",
            "tests/loop/test_connection.py::test_a_failing_view_closes_with_1011",
        ],
        "decided: websockets stay open while Redis is away": [
            "tests/test_outage.py::test_redis_is_killed_and_started_again"
        ],
        "1013, decided: a browser's message cannot be published": [
            "tests/test_outage.py::test_a_browsers_message_during_an_outage_closes_with_1013"
        ],
        "1009, decided: a message is too large": [
            "tests/test_upgrade.py::test_a_message_that_is_too_big",
            "tests/test_closing.py::test_the_protocol_is_broken",
        ],
        "1012, decided: uWSGI reloads or stops": [
            "tests/test_reload.py::test_reload",
            "tests/test_reload.py::test_stop",
        ],
        "runserver just ends its websockets when it reloads": [
            "tests/test_runserver.py::test_autoreload_with_open_websockets"
        ],
        "decided: a normal end is quiet": [
            "tests/test_upgrade.py::test_a_normal_end_is_quiet",
            "tests/test_runserver.py::test_the_log_has_one_quiet_line_for_each_websocket",
            "tests/test_closing.py::test_the_log_tells_openings_and_ends_at_debug",
        ],
        "what concerns a visitor is logged to django.request": [
            "tests/test_upgrade.py::test_the_logger_is_that_of_djangos_requests"
        ],
    },
}


@cache
def functions_of(path: str) -> set[str]:
    """A module's functions; those of a class with its name and two colons."""
    names = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return names


LINES = [
    pytest.param(tests, id=f"{section.split()[0]} {line}")
    for section in CONTRACT
    for line, tests in CONTRACT[section].items()
]


@pytest.mark.parametrize("tests", LINES)
def test_each_line_is_shown(tests: list[str]) -> None:
    assert tests
    for each in tests:
        path, _, name = each.partition("::")
        assert name.rpartition("::")[2].startswith("test_")
        assert name in functions_of(path), f"{each} does not exist"
