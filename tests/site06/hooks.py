from importlib import import_module

from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import PermissionDenied


def allowed_channels(request, channels):
    if request.path_info == "/ws/members" and not request.user.is_authenticated:
        raise PermissionDenied("for members only")
    if request.path_info == "/ws/readonly":
        return set(channels).intersection(["subscribe-broadcast", "subscribe-user"])
    return channels


def denied_channels(request, channels):
    if request.META.get("HTTP_DENY_CHANNELS") == "YES":
        raise PermissionDenied("no channel for you")
    return channels


def user_of_token(request):
    """Instead of the session cookie."""
    try:
        name = signing.loads(request.GET.get("token", ""))
    except signing.BadSignature:
        raise PermissionDenied("bad token")  # noqa: B904
    request.user = User.objects.get(username=name)
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    request.session["ws4redis:memberof"] = [group.name for group in request.user.groups.all()]
