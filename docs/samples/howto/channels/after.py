"""After: with ws4redis. The page connects to news?subscribe-user."""

from ws4redis.publisher import RedisPublisher


def tell(user, text):
    RedisPublisher(facility="news", users=[user.get_username()]).publish_message(text)
