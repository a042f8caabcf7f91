"""The contract of django-websocket-redis by section, and where each line of it is shown.

What its users rely on, said in our words, and the tests of it. Where the original had a defect, or its manual and its
code disagreed, the line says what was decided. A new section is one more entry of ``CONTRACT``.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.servers import ROOT

#: section: {line: tests, or words of the docs where there is nothing to be tested}
CONTRACT: dict[str, dict[str, list[str]]] = {
    "2 names of the package": {
        "the modules, and what may be imported from them": ["tests/test_historic.py::test_names"],
        "methods and attributes of their classes": [
            "tests/test_historic.py::test_members",
            "tests/test_upgrade.py::test_what_a_server_tells_of_itself",
        ],
        "arguments may be passed by their names": ["tests/test_historic.py::test_arguments"],
        "decided: what has no meaning any more says what to use": [
            "tests/test_historic.py::test_names_without_a_meaning"
        ],
        "redis_connection_pool is that with which all publish": [
            "tests/test_historic.py::test_the_pool_is_that_of_our_client"
        ],
        "what never existed does not": ["tests/test_historic.py::test_other_names_do_not_exist"],
        "decided: Django is set up where nobody has done it": [
            "tests/test_site06.py::test_pages",
            "tests/test_uwsgi_options.py::test_wrong_settings_are_told_at_start",
        ],
        "uwsgi_runserver can be imported inside uWSGI only": [
            "tests/test_historic.py::test_the_door_to_uwsgi_is_inside_uwsgi"
        ],
        "uWSGIWebsocketServer; decided: uWSGIWebSocketServer, too": [
            "tests/test_historic.py::test_the_names_of_the_door_to_uwsgi"
        ],
        "decided: ws4redis.store, which its manual had invented": ["tests/test_historic.py::test_names"],
        "is_authenticated() is false where nobody can be": ["tests/test_historic.py::test_is_authenticated"],
        "there are no tables": ["tests/test_models.py::test_there_are_no_models"],
        "the script is js/ws4redis.js; decided: it has a path of its own, too": [
            "tests/test_runserver.py::test_static_files_are_served",
            "tests/test_javascript.py::test_both_paths_are_one_script",
        ],
    },
    "2.1 exceptions": {
        "WebSocketError is an OSError, HandshakeError a BadHeaderError, and so on": [
            "tests/test_historic.py::test_errors"
        ],
        "a server may raise HandshakeError": ["tests/test_site06.py::test_own_servers_answer"],
    },
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
        "decided: in names of users, groups and sessions a colon is %3A and a percent sign %25": [
            "tests/test_channels.py::test_names",
            "tests/test_channels.py::test_no_two_audiences_share_a_channel",
            "tests/test_identities.py::test_a_group_is_not_part_of_another",
        ],
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
        "its transaction=True means one step; decided: so does False": [
            "tests/test_publisher.py::test_transaction",
            "tests/test_delivery.py::test_a_newcomers_first_message_arrives_once",
        ],
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
    "6 RedisSubscriber": {
        "it has four flags to hear and four to say; subclasses may add to both": [
            "tests/test_subscriber.py::test_the_flags_that_urls_know",
            "tests/test_upgrade.py::test_which_flags_are_known",
            "tests/test_site06.py::test_own_channels",
            "tests/test_site06.py::test_own_publishers",
        ],
        "the server knows all of them as possible_channels": [
            "tests/test_upgrade.py::test_what_a_server_tells_of_itself"
        ],
        "it is made with a Redis client, and has subscribed nothing": [
            "tests/test_custom_subscriber.py::test_without_a_subscription_there_is_no_descriptor"
        ],
        "set_pubsub_channels() makes channels of flags and facility": [
            "tests/test_subscriber.py::test_flags_become_channels",
            "tests/test_subscriber.py::test_both_directions",
            "tests/test_subscriber.py::test_the_facility_is_the_decoded_path",
        ],
        "only there is the request at hand; it may be kept": [
            "tests/test_upgrade.py::test_a_subscriber_keeps_its_own_request"
        ],
        "get_file_descriptor() is that of Redis; None where nothing is subscribed": [
            "tests/test_custom_subscriber.py::test_replies_are_read_by_hand",
            "tests/test_custom_subscriber.py::test_without_a_subscription_there_is_no_descriptor",
        ],
        "send_persisted_messages() sends what was kept, in the order of subscription, if it is not empty": [
            "tests/test_custom_subscriber.py::test_what_was_kept_is_sent_by_hand",
            "tests/test_site06.py::test_delivered_once",
        ],
        "parse_response() is one reply of Redis": [
            "tests/test_custom_subscriber.py::test_replies_are_read_by_hand",
            "tests/test_site06.py::test_replies_are_filtered",
        ],
        "decided: what redis-py has read already is not left waiting": [
            "tests/test_custom_subscriber.py::test_what_redis_py_has_read_already_is_told",
            "tests/test_custom_subscriber.py::test_many_that_read_for_themselves",
            "tests/test_custom_subscriber.py::test_what_was_read_before_the_upgrade_arrives",
        ],
        "publish_message() gets each message of the browser, with the default expiry": [
            "tests/test_delivery.py::test_a_browsers_message_is_kept",
            "tests/test_site06.py::test_a_subscriber_reacts",
        ],
        "release() on every path; decided: once": [
            "tests/test_custom_subscriber.py::test_who_leaves_is_released_once",
            "tests/test_custom_subscriber.py::test_who_is_refused_is_released_once",
            "tests/test_custom_subscriber.py::test_who_is_there_while_redis_is_away_is_released_once",
            "tests/test_site06.py::test_release",
        ],
        "it gives the connection back": [
            "tests/test_custom_subscriber.py::test_release_gives_the_connection_back",
            "tests/test_custom_subscriber.py::test_many_that_read_for_themselves",
        ],
        "decided: an override of send_persited_messages() is called, too": [
            "tests/test_site06.py::test_delivered_once"
        ],
        "subclasses override publish_message() to react": [
            "tests/test_site06.py::test_said_with_and_without_echo",
            "tests/test_site06.py::test_a_subscriber_reacts",
        ],
        "release() to say goodbye": ["tests/test_site06.py::test_release"],
        "set_pubsub_channels() for channels of their own": [
            "tests/test_site06.py::test_own_channels",
            "tests/test_site06.py::test_own_publishers",
        ],
        "decided: channels may be changed later, too": [
            "tests/test_custom_subscriber.py::test_rooms",
            "tests/test_custom_subscriber.py::test_rooms_of_one_who_heard_nothing_at_first",
            "tests/test_custom_subscriber.py::test_who_enters_a_room_gets_what_was_kept",
            "tests/test_custom_subscriber.py::test_who_has_left_a_room_no_longer_hears_it",
            "tests/test_custom_subscriber.py::test_rooms_under_churn",
        ],
        "send_persisted_messages() to deliver once": ["tests/test_site06.py::test_delivered_once"],
        "process_request() of the server": ["tests/test_site06.py::test_own_servers_answer"],
        "decided: who overrides parse_response() or get_file_descriptor() has a connection of its own": [
            "tests/test_site06.py::test_replies_are_filtered",
            "tests/test_site06.py::test_replies_of_an_own_connection",
            "tests/test_custom_subscriber.py::test_many_that_read_for_themselves",
        ],
        "patterns work there, and elsewhere say so": [
            "tests/test_site06.py::test_replies_of_an_own_connection",
            "tests/test_custom_subscriber.py::test_other_channels_by_hand",
            "tests/test_custom_subscriber.py::test_the_loops_subscription_has_no_patterns",
        ],
        "own messages do not come back there, either": ["tests/test_custom_subscriber.py::test_own_messages"],
        "decided: where Redis breaks off there, 1013": [
            "tests/test_custom_subscriber.py::test_redis_is_killed",
            "tests/test_custom_subscriber.py::test_connections_are_killed",
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
    "8.1 WebsocketWSGIServer": {
        "it is a WSGI application": ["tests/test_upgrade.py::test_answers"],
        "possible_channels, Subscriber and _redis_connection": [
            "tests/test_upgrade.py::test_what_a_server_tells_of_itself"
        ],
        "a Redis client may be given to it": [
            "tests/test_connections.py::test_sentinel_by_the_servers_argument",
            "tests/test_site06.py::test_a_client_made_elsewhere",
        ],
        "websockets are the open ones of this process": ["tests/test_site06.py::test_a_server_knows_its_websockets"],
        "assure_protocol_requirements() may ask for more, or less": ["tests/test_site06.py::test_own_servers_answer"],
        "process_request() may say who it is": ["tests/test_site06.py::test_an_own_server_says_who_it_is"],
        "process_subscriptions() may change flags and echo": [
            "tests/test_site06.py::test_an_own_server_changes_flags",
            "tests/test_site06.py::test_an_own_server_decides_on_echo",
        ],
        "upgrade_websocket() may do something before and after": [
            "tests/test_custom_subscriber.py::test_an_upgrade_with_something_before_and_after"
        ],
        "500, decided: it returns something of its own": [
            "tests/test_custom_subscriber.py::test_an_upgrade_that_returns_no_websocket",
            "tests/test_custom_subscriber.py::test_an_upgrade_that_wraps_the_websocket",
        ],
        "decided: select() is refused at start, for there is one loop for all": [
            "tests/test_custom_subscriber.py::test_select_is_refused"
        ],
        "decided: a WS4REDIS_SUBSCRIBER that is none is refused at start": [
            "tests/test_custom_subscriber.py::test_what_is_no_subscriber_is_refused",
            "tests/test_custom_subscriber.py::test_a_site_without_a_subscriber_does_not_start",
        ],
        "that may be a path; decided: or a class": ["tests/test_custom_subscriber.py::test_a_class_or_its_path"],
        # receive(), OPCODE_*, send_frame() and handle_*() have no line: only the original's own loop called them
        "a subscriber may send to its websocket, and close it": [
            "tests/test_site06.py::test_delivered_once",
            "tests/test_historic.py::test_members",
            "tests/test_historic.py::test_arguments",
        ],
    },
    "8.2 the order of events": {
        "protocol, who it is, flags, WS4REDIS_ALLOWED_CHANNELS, upgrade": [
            "tests/test_upgrade.py::test_the_order_of_the_steps"
        ],
        "decided: the subscriber is made and subscribed before the upgrade": [
            "tests/test_upgrade.py::test_the_order_of_the_steps"
        ],
        "so errors are HTTP's": [
            "tests/test_upgrade.py::test_what_a_hook_raises_becomes_a_status",
            "tests/test_custom_subscriber.py::test_who_is_refused_is_released_once",
        ],
        "then what was kept, then what is live": ["tests/test_delivery.py::test_newcomers_get_the_last_message"],
        "release() at the end": ["tests/test_custom_subscriber.py::test_who_leaves_is_released_once"],
        "decided: nothing is written after the close frame": [
            "tests/test_upgrade.py::test_a_subscriber_that_fails_closes_with_1011",
            "tests/test_websocket.py::test_nothing_is_sent_after_the_end",
        ],
        "decided: all that has arrived is handled, in both directions": [
            "tests/test_delivery.py::test_own_messages_sent_quickly_do_not_come_back",
            "tests/test_crowd.py::test_a_burst_arrives_complete_and_in_order",
        ],
    },
    "8.3 frames": {
        "what is UTF-8 is sent as text; decided: the rest as binary": [
            "tests/test_publication.py::test_utf8_travels_as_text_and_the_rest_as_binary",
            "tests/test_delivery.py::test_bytes_that_are_text_arrive_as_text",
        ],
        "binary messages of browsers are published and kept unchanged": [
            "tests/test_delivery.py::test_a_browsers_message_arrives_unchanged",
            "tests/test_site06.py::test_said_with_and_without_echo",
        ],
    },
    "8.4 runserver": {
        "application: what is below WEBSOCKET_URL is a websocket's, the rest Django's": [
            "tests/test_runserver.py::test_what_is_below_the_url_is_a_websockets"
        ],
        "without WEBSOCKET_URL all is Django's": [
            "tests/test_runserver.py::test_what_is_below_the_url_is_a_websockets"
        ],
        "a page there is a 400": [
            "tests/test_upgrade.py::test_answers",
            "tests/test_site06.py::test_a_page_is_no_websocket",
        ],
        "the setting WSGI_APPLICATION is enough; decided: nothing else is replaced": [
            "tests/test_runserver.py::test_nothing_of_djangos_own_server_is_replaced"
        ],
        "--nothreading is refused; decided: with a 503 that says so": [
            "tests/test_runserver.py::test_nothreading_is_refused_with_a_reason"
        ],
        "decided: Django's banner and reloads are as ever": [
            "tests/test_runserver.py::test_django_prints_its_banner",
            "tests/test_runserver.py::test_autoreload_with_open_websockets",
        ],
        "101 with the accepted key, in HTTP/1.1": [
            "tests/test_upgrade.py::test_answers",
            "tests/protocol/test_handshake.py::test_accept_response",
        ],
        "a subprotocol only if one is offered; decided: one of them": [
            "tests/test_upgrade.py::test_subprotocols",
            "tests/test_upgrade.py::test_several_subprotocols_without_a_preference",
        ],
        "one thread for each websocket, given back": [
            "tests/test_runserver.py::test_threads_and_descriptors_come_back"
        ],
        "decided: Django 4.2 and later": ["tests/test_docs.py::test_floors", "tests/test_upgrade.py::test_answers"],
        "under LiveServerTestCase, by set_app()": [
            "tests/test_runserver.py::test_under_a_live_server",
            "tests/test_site06.py::test_under_a_live_server",
        ],
        "decided: django-sslserver and runserver_plus": ["tests/test_runserver.py::test_other_development_servers"],
        "decided: what came along with the request is read": [
            "tests/test_runserver.py::test_what_is_sent_before_the_answer_is_not_lost"
        ],
    },
    "8.5 uWSGI": {
        # its websocket functions are not used, so what they answer and how they count has no line
        "decided: answers and versions are those of runserver": ["tests/test_upgrade.py::test_answers"],
        "decided: close frames are sent": ["tests/test_closing.py::test_the_browser_closes"],
        "decided: fragments of two browsers do not mix, and a bad one ends its own websocket only": [
            "tests/protocol/test_server.py::test_messages",
            "tests/test_closing.py::test_the_protocol_is_broken",
        ],
        "1 MiB for a message": ["tests/protocol/test_server.py::test_default_limit_is_one_mebibyte"],
        "decided: a ping after 25 s of silence, the end after 60": ["tests/loop/test_connection.py::test_silence"],
        "decided: whatever gevent has not patched by then is patched": [
            "tests/test_uwsgi_options.py::test_one_warning_per_worker_names_the_lines_to_add",
            "tests/test_site06.py::test_audiences",
        ],
    },
    "8.6 websockets": {
        "closed and get_file_descriptor()": ["tests/test_historic.py::test_members"],
        "send(message, binary)": ["tests/test_websocket.py::test_send"],
        "close(code, message)": [
            "tests/test_websocket.py::test_the_server_closes",
            "tests/test_historic.py::test_arguments",
        ],
        "text and binary are told apart": [
            "tests/test_websocket.py::test_messages_are_handed_on",
            "tests/protocol/test_server.py::test_messages",
        ],
        "pings are answered": ["tests/test_websocket.py::test_pings_are_answered"],
        "decided: silence is pinged, behind both doors": ["tests/loop/test_connection.py::test_silence"],
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
        "503, decided: Redis is away": ["tests/test_outage.py::test_newcomers_are_refused_at_once_while_redis_is_away"],
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
        "decided: a page of another site that comes with a cookie, or with other authority, is refused": [
            "tests/test_upgrade.py::test_answers",
            "tests/auth/test_origin.py::test_the_requests_own_place",
            "tests/auth/test_origin.py::test_any_cookie_counts",
            "tests/auth/test_origin.py::test_whatever_tells_who_it_is_counts",
        ],
        "decided: so is every page of another site where the site has hooks": [
            "tests/test_upgrade.py::test_where_there_are_hooks_every_page_is_looked_at"
        ],
        "decided: where a proxy passes no host, the pages of ALLOWED_HOSTS are the site's": [
            "tests/auth/test_origin.py::test_allowed_hosts"
        ],
        "decided: without any of these, or without an origin, it is not": [
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
    "13.1 in templates": {
        "WEBSOCKET_URI: scheme by the request's, host, WEBSOCKET_URL": [
            "tests/test_context_processors.py::test_websocket_uri",
            "tests/test_site06.py::test_pages",
        ],
        "SECURE_PROXY_SSL_HEADER counts": ["tests/test_context_processors.py::test_websocket_uri"],
        "WS4REDIS_HEARTBEAT is a literal of JavaScript, or null; decided: escaped": [
            "tests/test_context_processors.py::test_heartbeat_is_a_javascript_literal"
        ],
    },
    "13.2 WS4Redis": {
        "a global function, with or without new": ["tests/js/ws4redis.test.js::called"],
        "decided: jQuery may be passed, and is not used": [
            "tests/js/ws4redis.test.js::called",
            "tests/js/ws4redis.test.js::on a page",
            "tests/test_javascript.py::test_with_jquery",
        ],
        "it throws without uri": ["tests/js/ws4redis.test.js::no uri"],
        "connecting() before each socket": [
            "tests/js/ws4redis.test.js::connecting() is called before the socket is made"
        ],
        "connected(), receive_message(data), disconnected(evt)": [
            "tests/js/ws4redis.test.js::callbacks come in order, as methods of the options"
        ],
        "disconnected() comes before the reconnect is scheduled": [
            "tests/js/ws4redis.test.js::disconnected() is called before the reconnect is scheduled, and may prevent it"
        ],
        "callbacks are optional": [
            "tests/js/ws4redis.test.js::callbacks are optional, and nothing is called that is no function"
        ],
        "receive_message() gets no heartbeats": [
            "tests/js/ws4redis.test.js::received heartbeats are swallowed, other messages are not"
        ],
        "heartbeat_msg is null by default": ["tests/js/ws4redis.test.js::there is no heartbeat with heartbeat_msg"],
        "send_message() sends": ["tests/js/ws4redis.test.js::send_message passes text and binary on"],
        "decided: it waits while there is no connection": [
            "tests/js/ws4redis.test.js::messages wait, in order, while",
            "tests/js/ws4redis.test.js::the queue is bounded",
            "tests/test_javascript.py::test_messages_wait_while_connecting",
        ],
        "get_state() and four predicates": ["tests/js/ws4redis.test.js::state while"],
        "close() closes the socket": ["tests/js/ws4redis.test.js::close() closes the socket while"],
        "close() is the end; decided: of every timer, too": ["tests/js/ws4redis.test.js::close() is final while"],
        "it reconnects; decided: but not where it would be refused again": [
            "tests/js/ws4redis.test.js::after close code",
            "tests/test_javascript.py::test_the_server_is_killed_and_started_again",
        ],
        "after a random time, at most 1 s, then 3, 7, 15 and 30 s; one timer at a time": [
            "tests/js/ws4redis.test.js::the delay's bound grows to 30 seconds, and starts again on open",
            "tests/js/ws4redis.test.js::the delay is spread over its whole range",
        ],
        "a heartbeat every 5 s while it is open": [
            "tests/js/ws4redis.test.js::heartbeats are sent every five seconds, and not before"
        ],
        "it gives up at the fourth without an answer; any answer counts anew": [
            "tests/js/ws4redis.test.js::the tick that gives up, when a heartbeat comes after tick"
        ],
        "then it reconnects": [
            "tests/js/ws4redis.test.js::given up, the handshake ended by",
            "tests/test_javascript.py::test_a_stalled_connection_is_given_up",
        ],
        "decided: no heartbeat outlives its socket": [
            "tests/js/ws4redis.test.js::the heartbeat stops on close, and its count starts anew on open"
        ],
        "decided: a first attempt that throws is tried again": [
            "tests/js/ws4redis.test.js::a constructor that throws is reported and tried again"
        ],
        "decided: its address may change": [
            "tests/js/ws4redis.test.js::set_uri connects to the new address at once while",
            "tests/test_javascript.py::test_the_channel_is_changed",
        ],
        "it is included by the static tag, or behind STATIC_URL": [
            "tests/test_site06.py::test_pages",
            "tests/test_runserver.py::test_static_files_are_served",
        ],
    },
    # where the manual and the code disagreed, by number; 19 and 20 are mistakes in its samples, and ours are all run;
    # 23 promises of Redis what replication does not do
    "14 manual and code": {
        "1 WEBSOCKET_URL is /ws/ by default, everywhere": [
            "tests/test_settings.py::test_defaults",
            "tests/test_upgrade.py::test_without_websocket_url_it_is_ws",
        ],
        "2 None as WS4REDIS_EXPIRE keeps nothing": ["tests/test_publisher.py::test_expire"],
        "2b with 0 nothing is stored, and what was kept stays": [
            "tests/test_publisher.py::test_expire",
            "tests/test_delivery.py::test_nothing_is_kept_with_expire_0",
            "tests/test_delivery.py::test_what_is_not_kept_leaves_what_was",
        ],
        "3 both spellings of uWSGIWebsocketServer": ["tests/test_historic.py::test_the_names_of_the_door_to_uwsgi"],
        "4 ws4redis.store exists": ["tests/test_historic.py::test_names"],
        "5 a proxy may strip WEBSOCKET_URL": ["tests/test_channels.py::test_facilities"],
        "5b module = a module, as in every ini that we show": ["tests/test_docs.py::test_the_tutorials_view_publishes"],
        "6 text may be published": ["tests/test_publisher.py::test_messages"],
        "7 subscribe-user, and subscribe=user, too": ["tests/test_channels.py::test_flags"],
        "8 WS4REDIS_ALLOWED_CHANNELS is asked before the upgrade": [
            "tests/test_upgrade.py::test_the_order_of_the_steps",
            "tests/test_upgrade.py::test_hooks_fail_closed",
        ],
        "9 who has not logged in gets the hook's 403": [
            "tests/test_docs.py::test_only_users",
            "tests/test_site06.py::test_answers",
        ],
        "10 a hook that returns nothing is told so": [
            "tests/auth/test_permissions.py::test_a_hook_that_returns_nothing_leaves_all_and_is_named_once"
        ],
        "11 a heartbeat at least every 4 s": [
            "tests/test_heartbeat.py::test_idle_browsers_get_one_at_least_every_4_seconds"
        ],
        "12 without echo it is one's own messages that do not come back": [
            "tests/test_delivery.py::test_own_messages_come_back_with_echo_only",
            "tests/test_delivery.py::test_somebody_elses_equal_message_is_not_swallowed",
        ],
        "13 the browser gives up at the fourth heartbeat": [
            "tests/js/ws4redis.test.js::the tick that gives up, when a heartbeat comes after tick"
        ],
        "14 one descriptor for each websocket, and one subscription for each process": [
            "tests/test_crowd.py::test_a_thousand_browsers_connect_at_once"
        ],
        "15 silent browsers are pinged and closed, behind both doors": ["tests/loop/test_connection.py::test_silence"],
        "16 /chat/, /userchat/ and /groupchat/": [
            "tests/test_site06.py::test_pages",
            "tests/test_site06.py::test_audiences",
        ],
        "17 what is published after many have subscribed reaches all": [
            "tests/test_crowd.py::test_a_thousand_browsers_connect_at_once",
            "tests/test_stress.py::test_quick",
        ],
        "18 the fixture's group is chatusers": ["tests/test_site06.py::test_audiences"],
        "21 wsgi.py may patch little or nothing, and set DJANGO_SETTINGS_MODULE first": [
            "tests/test_site06.py::test_audiences"
        ],
        "22 static files without DEBUG": ["tests/test_demo.py::test_all_that_a_page_names_is_served_from_here"],
        "24 a subscriber extends RedisSubscriber": [
            "tests/test_custom_subscriber.py::test_what_is_no_subscriber_is_refused"
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


@cache
def titles_of(path: str) -> set[str]:
    """A JavaScript module's tests and tables of tests."""
    return set(re.findall(r'^\s*(?:test|table)\("([^"]+)"', (ROOT / path).read_text("utf-8"), re.MULTILINE))


@cache
def words_of(path: str) -> str:
    """A page's text in one line."""
    return " ".join((ROOT / path).read_text("utf-8").split())


def exists(reference: str) -> bool:
    """Behind its file: a test's name, the title of one in JavaScript, or words of a page of the docs."""
    path, _, name = reference.partition("::")
    if path.endswith(".js"):
        return name in titles_of(path)
    if path.endswith(".md"):
        return bool(name) and name in words_of(path)
    return name.rpartition("::")[2].startswith("test_") and name in functions_of(path)


LINES = [
    pytest.param(references, id=f"{section.split()[0]} {line}")
    for section in CONTRACT
    for line, references in CONTRACT[section].items()
]


@pytest.mark.parametrize("references", LINES)
def test_each_line_is_shown(references: list[str]) -> None:
    assert references
    for each in references:
        assert exists(each), f"{each} does not exist"


# reference, whether there is such a thing
REFERENCES = [
    ("tests/test_contract.py::test_references", True),
    ("tests/test_contract.py::test_no_such_test", False),
    ("tests/test_contract.py::exists", False),
    ("tests/test_contract.py", False),
    ("tests/test_stress.py::TestCheck::test_no_such_test", False),
    ("tests/js/ws4redis.test.js::called", True),
    ("tests/js/ws4redis.test.js::close() forgets what waits", True),
    ("tests/js/ws4redis.test.js::with new", False),
    ("tests/js/ws4redis.test.js::", False),
    ("docs/howto/publish.md::# Publish", True),
    ("docs/howto/publish.md::no such words", False),
    ("docs/howto/publish.md", False),
]


@pytest.mark.parametrize(("reference", "found"), REFERENCES)
def test_references(reference: str, found: bool) -> None:
    assert exists(reference) is found
