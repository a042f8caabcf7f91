from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from ws4redis.publisher import RedisPublisher


@require_GET
def broadcast_chat(request: HttpRequest) -> HttpResponse:
    """A page for everybody; whoever opens it is announced by a greeting to all."""
    RedisPublisher(facility="foobar", broadcast=True).publish_message("Hello everybody")
    return render(request, "broadcast_chat.html")
