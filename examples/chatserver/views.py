"""The three chats. Each page shows its view, so lines are short."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods

from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF


@require_GET
def broadcast_chat(request: HttpRequest) -> HttpResponse:
    """A page for everybody; who opens it is announced to all."""
    publisher = RedisPublisher(facility="foobar", broadcast=True)
    publisher.publish_message("Hello everybody")
    return render(request, "broadcast_chat.html")


@login_required
@require_http_methods(["GET", "POST"])
def user_chat(request: HttpRequest) -> HttpResponse:
    """What is posted goes to one user, and to who has written it."""
    if request.method == "POST":
        user = get_object_or_404(User, username=request.POST.get("user"))
        text = request.POST.get("message", "")
        users = [user.get_username(), SELF]
        publisher = RedisPublisher(facility="foobar", users=users, request=request)
        publisher.publish_message(f"{request.user} to {user}: {text}")
        return HttpResponse("OK")
    users = User.objects.order_by("username")
    return render(request, "user_chat.html", {"users": users})


@login_required
@require_http_methods(["GET", "POST"])
def group_chat(request: HttpRequest) -> HttpResponse:
    """What is posted goes to all members; only they may write."""
    groups = request.user.groups.order_by("name")
    if request.method == "POST":
        group = get_object_or_404(groups, name=request.POST.get("group"))
        text = request.POST.get("message", "")
        publisher = RedisPublisher(facility="foobar", groups=[group.name])
        publisher.publish_message(f"{request.user} to {group}: {text}")
        return HttpResponse("OK")
    return render(request, "group_chat.html", {"groups": groups})
