"""Samples of the page "Authorise"."""

from django.contrib.auth.models import AnonymousUser, User
from django.core import signing
from django.core.exceptions import PermissionDenied

from ws4redis.core.channels import facility_of

DAY = 24 * 60 * 60  # seconds


def only_users(request, channels):
    """Whoever has logged in may listen; staff may publish, too."""
    if not request.user.is_authenticated:
        raise PermissionDenied("not logged in")
    if request.user.is_staff:
        return channels
    return [each for each in channels if each.startswith("subscribe-")]


def only_users_publish(request, channels):
    """Everybody may listen."""
    return [each for each in channels if each.startswith("subscribe-") or request.user.is_authenticated]


def by_facility(request, channels):
    """What begins with "editors/" is for members of that group, as the database knows them now."""
    is_editor = request.user.groups.filter(name="editors").exists()
    if facility_of(request.path_info).startswith("editors/") and not is_editor:
        raise PermissionDenied("not an editor")
    return channels


def make_ticket(user):
    """For the page, which appends "&ticket=..." to the URL of its websocket."""
    return signing.dumps(user.get_username(), salt="websocket")


def user_by_ticket(request):
    """In place of the session cookie."""
    request.session = None
    request.user = AnonymousUser()
    ticket = request.GET.get("ticket")
    if ticket is not None:
        try:
            username = signing.loads(ticket, salt="websocket", max_age=DAY)
            request.user = User.objects.get(username=username, is_active=True)
        except (signing.BadSignature, User.DoesNotExist):
            raise PermissionDenied("bad ticket") from None
