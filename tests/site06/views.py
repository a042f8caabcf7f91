from django.contrib.auth.models import Group, User
from django.core import signing
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic.base import TemplateView, View

from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF, RedisMessage


class BroadcastChatView(TemplateView):
    template_name = "broadcast_chat.html"
    facility = "foobar"
    audience = {"broadcast": True}  # noqa: RUF012

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.redis_publisher = RedisPublisher(facility=self.facility, **self.audience)

    def get(self, request, *args, **kwargs):
        self.redis_publisher.publish_message(RedisMessage("Hello everybody"))
        return super().get(request, *args, **kwargs)


@method_decorator(csrf_exempt, name="dispatch")
class UserChatView(TemplateView):
    template_name = "user_chat.html"

    def get_context_data(self, **kwargs):
        return super().get_context_data(users=User.objects.all(), **kwargs)

    def post(self, request, *args, **kwargs):
        publisher = RedisPublisher(facility="foobar", users=[request.POST["user"]])
        publisher.publish_message(RedisMessage(request.POST["message"]))
        return HttpResponse("OK")


@method_decorator(csrf_exempt, name="dispatch")
class GroupChatView(TemplateView):
    template_name = "group_chat.html"

    def get_context_data(self, **kwargs):
        return super().get_context_data(groups=Group.objects.all(), **kwargs)

    def post(self, request, *args, **kwargs):
        # a plain string, as the manual's examples have it
        RedisPublisher(facility="foobar", groups=[request.POST["group"]]).publish_message(request.POST["message"])
        return HttpResponse("OK")


@method_decorator(csrf_exempt, name="dispatch")
class NoticeView(View):
    """To many at once; kept as long as the form says."""

    def post(self, request, *args, **kwargs):
        publisher = RedisPublisher(
            facility="foobar",
            broadcast="broadcast" in request.POST,
            users=request.POST.getlist("user"),
            groups=request.POST.getlist("group"),
        )
        pipeline = "pipeline" in request.POST
        publish = publisher.pipeline_publish_message if pipeline else publisher.publish_message
        publish(RedisMessage(request.POST["message"]), expire=int(request.POST.get("expire", 60)))
        return HttpResponse("OK")


@method_decorator(csrf_exempt, name="dispatch")
class SelfView(View):
    """To the visitor himself, or his groups."""

    def post(self, request, audience):
        publisher = RedisPublisher(facility="foobar", request=request, **{audience: [SELF]})
        publisher.publish_message(RedisMessage(request.POST["message"]))
        return HttpResponse("OK")


@method_decorator(csrf_exempt, name="dispatch")
class LegacyView(View):
    """Written before audiences were lists."""

    def post(self, request, audience):
        name = request.POST.get("name", True)
        publisher = RedisPublisher(facility="foobar", request=request, **{audience: name})
        publisher.publish_message(RedisMessage(request.POST["message"]))
        return HttpResponse("OK")


class LastMessageView(View):
    redis_publisher = None

    def get(self, request, audience):
        self.redis_publisher = RedisPublisher()
        message = self.redis_publisher.fetch_message(request, "foobar", audience)
        return HttpResponse(message or b"nothing")


class TokenView(View):
    def get(self, request):
        return HttpResponse(signing.dumps(request.user.get_username()))
