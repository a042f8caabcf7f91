from django.apps import AppConfig


class WS4RedisConfig(AppConfig):
    name = "ws4redis"
    verbose_name = "Websockets for Redis"

    def ready(self) -> None:
        from ws4redis import checks  # noqa: F401  registers them
